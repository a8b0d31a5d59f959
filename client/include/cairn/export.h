/* Marks what libcairn exports: everything else in the library is hidden. */
#ifndef CAIRN_EXPORT_H
#define CAIRN_EXPORT_H

#define CAIRN_API __attribute__((visibility("default")))

#endif
