/* The n-th call that writes below a folder fails: what a bad disk or a full one does, at any place that can be chosen.

   Preloaded into a process (LD_PRELOAD), which arms it: arm(folder, n, error, lasting). The calls that count are those
   that create, write, flush, close, rename or make folders below `folder`. With `lasting` every later write fails too,
   as on a disk that is full. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char below[PATH_MAX];
static atomic_long left_over = -1, calls = 0;
static int failure = 0, keeps_failing = 0;

void arm(const char *folder, long n, int error, int lasting) {
    snprintf(below, sizeof below, "%s", folder);
    failure = error;
    keeps_failing = lasting;
    atomic_store(&calls, 0);
    atomic_store(&left_over, n);
}

long counted(void) { return atomic_load(&calls); }

static int is_below(const char *path) { return below[0] && path && strncmp(path, below, strlen(below)) == 0; }

static int fd_below(int fd) {
    char link[64], path[PATH_MAX];
    if (!below[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return is_below(path);
}

static int writable(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

/* Whether this call is the one; `takes_room` for those that a full disk refuses. */
static int fails(int takes_room) {
    long n = atomic_fetch_add(&calls, 1);
    long wanted = atomic_load(&left_over);
    if (wanted < 0) return 0;
    if (n == wanted || (keeps_failing && takes_room && n > wanted)) {
        errno = failure;
        return 1;
    }
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t n) {
    return fd_below(fd) && fails(1) ? -1 : REAL(write)(fd, data, n);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    return fd_below(fd) && fails(1) ? -1 : REAL(pwrite64)(fd, data, n, at);
}
int fsync(int fd) { return fd_below(fd) && fails(0) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fd_below(fd) && fails(0) ? -1 : REAL(fdatasync)(fd); }
int close(int fd) {
    int counts = fd_below(fd) && writable(fd), done = REAL(close)(fd);
    return counts && fails(0) ? -1 : done;
}
int rename(const char *from, const char *to) { return is_below(to) && fails(0) ? -1 : REAL(rename)(from, to); }
int mkdir(const char *path, mode_t mode) { return is_below(path) && fails(1) ? -1 : REAL(mkdir)(path, mode); }

#define OPEN(name, parameters, call)                                                                                  \
    int name parameters {                                                                                              \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return is_below(path) && (flags & O_ACCMODE) != O_RDONLY && fails(1) ? -1 : REAL(name) call;                   \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
