/* A fuzz target's main where libFuzzer is absent: runs every file of the named folders and files once, and the empty
 * input. Input is copied to memory of exactly its size, so that ASan sees one read too many. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_SIZE_MAX (64u << 20) /* bytes */

static int run_file(const char *path)
{
    struct stat st;
    uint8_t *data;
    FILE *f = fopen(path, "rb");

    if (f == NULL || fstat(fileno(f), &st) != 0 || st.st_size > (off_t)INPUT_SIZE_MAX) {
        fprintf(stderr, "%s: cannot be read\n", path);
        if (f != NULL) {
            fclose(f);
        }
        return 1;
    }
    data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
    if (data == NULL || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
        fprintf(stderr, "%s: short read\n", path);
        free(data);
        fclose(f);
        return 1;
    }
    fclose(f);
    printf("%s\n", path);
    fflush(stdout); /* names the culprit when the next line crashes */
    LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
    free(data);
    return 0;
}

static int run_folder(DIR *dir, const char *path)
{
    char name[4096];
    struct dirent *e;
    int failures = 0;

    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.') {
            continue;
        }
        if ((size_t)snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= sizeof name) {
            failures++;
            continue;
        }
        failures += run_file(name);
    }
    return failures;
}

int main(int argc, char **argv)
{
    int failures = 0;

    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (dir != NULL) {
            failures += run_folder(dir, argv[i]);
            closedir(dir);
        } else {
            failures += run_file(argv[i]);
        }
    }
    return failures == 0 ? 0 : 1;
}
