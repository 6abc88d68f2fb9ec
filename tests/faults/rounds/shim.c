/* Below a site: a disk that fails at random, a clock that jumps, and a memory of what was not yet synchronised.
 *
 * The file named by SHIM_STATE is shared with whoever steers (`shim.py` knows its layout); SHIM_STORE is the folder whose
 * files may fail. A failed write may have written half of what it was given, as in life. What was written and not yet
 * synchronised is what a loss of power may garble: it is noted before each write and forgotten after each fsync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define PAGES 256
enum { WRITE, PWRITE, FSYNC, TRUNCATE, OPEN, RENAME, CALLS };

struct state {
    int64_t clock_ns;
    uint32_t ppm, code; /* chance of a failure; its errno, 0: EIO or ENOSPC by turns */
    uint64_t dice, failed[CALLS];
    int64_t wal_lo, wal_hi;             /* bytes of jobs.db-wal that were not synchronised */
    int64_t pages, page[PAGES][2];      /* (offset, size) of such writes to jobs.db; more than PAGES: unknown */
    int64_t is_writing, begin;          /* of the ledger: a write is under way, and where it began */
    char segment[512];
    int64_t spared; /* so many calls do not fail yet */
};

static struct state *state;
static char store[400];
static size_t store_size;
static int (*real_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void set_up(void) {
    const char *path = getenv("SHIM_STATE"), *folder = getenv("SHIM_STORE");
    real_clock = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    if (!path || !folder) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *at = mmap(0, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (at == MAP_FAILED) return;
    snprintf(store, sizeof store, "%s/", folder);
    store_size = strlen(store);
    state = at;
}

/* The path below the store of what an open file is, or 0. */
static const char *below(int fd, char *path, size_t size) {
    if (!state) return 0;
    char link[40];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, size - 1);
    errno = saved;
    if (n <= 0) return 0;
    path[n] = 0;
    return strncmp(path, store, store_size) ? 0 : path + store_size;
}

static uint32_t roll(void) {
    uint64_t x = __atomic_add_fetch(&state->dice, 0x9E3779B97F4A7C15ull, __ATOMIC_RELAXED);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return (uint32_t) ((x ^ (x >> 31)) >> 32);
}

static int fails(int call) {
    if (!state || !state->ppm) return 0;
    if (state->spared > 0) return state->spared--, 0;
    if (roll() % 1000000 >= state->ppm) return 0;
    __atomic_add_fetch(&state->failed[call], 1, __ATOMIC_RELAXED);
    errno = state->code ? (int) state->code : roll() % 2 ? EIO : ENOSPC;
    return 1;
}

static void dirty(const char *name, int64_t at, int64_t size) {
    if (!strcmp(name, "jobs.db-wal")) {
        if (at < state->wal_lo) state->wal_lo = at;
        if (at + size > state->wal_hi) state->wal_hi = at + size;
    } else if (!strcmp(name, "jobs.db")) {
        int64_t n = state->pages;
        if (n < PAGES) state->page[n][0] = at, state->page[n][1] = size;
        state->pages = n + 1;
    }
}

static void clean(const char *name) {
    if (!strcmp(name, "jobs.db-wal")) state->wal_lo = INT64_MAX, state->wal_hi = 0;
    else if (!strcmp(name, "jobs.db")) state->pages = 0;
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t n) {
    static ssize_t (*real)(int, const void *, size_t);
    char path[512];
    if (!real) real = REAL(write);
    const char *name = below(fd, path, sizeof path);
    if (!name) return real(fd, bytes, n);
    if (fails(WRITE)) {
        int code = errno;
        if (n > 1 && roll() % 2 && real(fd, bytes, n / 2) < 0) code = errno;
        errno = code;
        return -1;
    }
    struct stat now;
    if (strncmp(name, "ledger/", 7) || !strstr(name, ".jsonl") || fstat(fd, &now)) return real(fd, bytes, n);
    strcpy(state->segment, name);
    state->begin = now.st_size;
    __atomic_store_n(&state->is_writing, 1, __ATOMIC_SEQ_CST);
    ssize_t wrote = real(fd, bytes, n);
    __atomic_store_n(&state->is_writing, 0, __ATOMIC_SEQ_CST);
    return wrote;
}

static ssize_t put(int fd, const void *bytes, size_t n, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    char path[512];
    if (!real) real = REAL(pwrite64);
    const char *name = below(fd, path, sizeof path);
    if (!name) return real(fd, bytes, n, at);
    dirty(name, at, n);
    if (fails(PWRITE)) {
        int code = errno;
        if (n > 1 && roll() % 2 && real(fd, bytes, n / 2, at) < 0) code = errno;
        errno = code;
        return -1;
    }
    return real(fd, bytes, n, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return put(fd, bytes, n, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) { return put(fd, bytes, n, at); }

static int synced(int fd, int (*real)(int)) {
    char path[512];
    const char *name = below(fd, path, sizeof path);
    if (!name) return real(fd);
    if (fails(FSYNC)) return -1;
    int told = real(fd);
    if (!told) clean(name);
    return told;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

static int cut(int fd, off64_t size) {
    char path[512];
    const char *name = below(fd, path, sizeof path);
    return name && fails(TRUNCATE) ? -1 : REAL(ftruncate64)(fd, size);
}

int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off64_t size) { return cut(fd, size); }

static int opened(const char *path, int flags, mode_t mode) {
    if (state && flags & O_CREAT && !strncmp(path, store, store_size) && fails(OPEN)) return -1;
    return REAL(open64)(path, flags, mode);
}

#define OPENS(name)                                                                                                    \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return opened(path, flags, mode);                                                                              \
    }
OPENS(open)
OPENS(open64)

int rename(const char *old, const char *new) {
    if (state && !strncmp(new, store, store_size) && fails(RENAME)) return -1;
    return REAL(rename)(old, new);
}

int unlink(const char *path) {
    int told = REAL(unlink)(path);
    if (!told && state && !strncmp(path, store, store_size)) clean(path + store_size);
    return told;
}

int clock_gettime(clockid_t which, struct timespec *at) {
    int told = real_clock ? real_clock(which, at) : (int) syscall(SYS_clock_gettime, which, at);
    if (!told && state && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t ns = at->tv_sec * 1000000000ll + at->tv_nsec + state->clock_ns;
        at->tv_sec = ns / 1000000000ll;
        at->tv_nsec = ns % 1000000000ll;
    }
    return told;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void) zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
