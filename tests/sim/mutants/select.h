/* Which known bug (proto/base/mutant.h) a simulator's process has. Without CAIRN_MUTANTS there is none to choose. */
#ifndef CAIRN_SIM_MUTANTS_SELECT_H
#define CAIRN_SIM_MUTANTS_SELECT_H

/* 0, or an exit status: what is wrong was said on stderr. */
int mutants_choose(const char *name);
/* One line each: name, what goes wrong. 0, or an exit status. */
int mutants_list(void);

#endif
