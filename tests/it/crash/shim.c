/* Stands between a process and the C library. It can end the process at a chosen call, make calls fail, and log the order in which the
 * process syncs and answers. Environment variables control it:
 *
 *   SHIM_KILL_AT=N    ends the process with SIGKILL at its N-th call that changes the disk: before the call if N is even, after it if N is odd
 *   SHIM_FAIL_IF=F    while the file F contains "CALL ERROR PATH", matching calls for matching files fail. CALL (fsync, fdatasync, write,
 *                     pwrite64) and PATH are shell patterns, whose stars match slashes too. ERROR is an errno. With 0 the calls wait until F
 *                     changes. Rust's standard library and SQLite make these calls. Code that calls the kernel directly is not affected.
 *   SHIM_LOG=F        appends a line to F for each sync, for each POST request that has arrived, and for each HTTP response
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static long kill_at;
static long calls;
static const char *fail_if;
static int log_to = -1;

__attribute__((constructor)) static void start(void) {
    const char *at = getenv("SHIM_KILL_AT");
    kill_at = at ? atol(at) : 0;
    fail_if = getenv("SHIM_FAIL_IF");
    const char *log = getenv("SHIM_LOG");
    if (log) log_to = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(const char *what, const char *which) {
    if (log_to < 0) return;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %s\n", what, which);
    if (length > 0 && write(log_to, line, (size_t)length) < 0) return;
}

static void path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
}

static void note_sync(const char *what, int fd) {
    if (log_to < 0) return;
    char path[PATH_MAX];
    path_of(fd, path);
    note(what, path);
}

static void note_answer(const char *bytes, size_t length) {
    if (log_to < 0 || length < 12 || memcmp(bytes, "HTTP/1.1 ", 9) != 0) return;
    char status[4] = {bytes[9], bytes[10], bytes[11], 0};
    note("answer", status);
}

static void end(void) { kill(getpid(), SIGKILL); }

/* Counts a call. Returns whether the process must die after it. */
static int counted(void) {
    if (kill_at <= 0) return 0;
    long call = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (call == kill_at && kill_at % 2 == 0) end();
    return call == kill_at;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define CHANGE(call) int last = counted(); __typeof__(call) result = call; if (last) end(); return result

static int is_chosen(const char *call, int fd, int *error) {
    int from = fail_if ? open(fail_if, O_RDONLY | O_CLOEXEC) : -1;
    if (from < 0) return 0;
    char said[512], calls[32], paths[256], path[PATH_MAX];
    ssize_t length = read(from, said, sizeof said - 1);
    close(from);
    said[length < 0 ? 0 : length] = 0;
    if (sscanf(said, "%31s %d %255s", calls, error, paths) != 3) return 0;
    path_of(fd, path);
    return fnmatch(calls, call, 0) == 0 && fnmatch(paths, path, 0) == 0;
}

static int fails(const char *call, int fd) {
    int error;
    for (; is_chosen(call, fd, &error); usleep(1000)) {
        if (error == 0) continue;
        errno = error;
        return 1;
    }
    return 0;
}

int fsync(int fd) { REAL(fsync); if (fails("fsync", fd)) return -1; note_sync("fsync", fd); CHANGE(real(fd)); }
int fdatasync(int fd) { REAL(fdatasync); if (fails("fdatasync", fd)) return -1; note_sync("fdatasync", fd); CHANGE(real(fd)); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); CHANGE(real(fd, size)); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); CHANGE(real(fd, size)); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) { REAL(pwrite64); if (fails("pwrite64", fd)) return -1; CHANGE(real(fd, bytes, size, at)); }
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { REAL(pwrite); CHANGE(real(fd, bytes, size, at)); }
ssize_t write(int fd, const void *bytes, size_t size) { REAL(write); return fails("write", fd) ? -1 : real(fd, bytes, size); }
int unlink(const char *path) { REAL(unlink); CHANGE(real(path)); }

ssize_t recv(int fd, void *bytes, size_t size, int flags) {
    REAL(recv);
    ssize_t length = real(fd, bytes, size, flags);
    if (length > 5 && memcmp(bytes, "POST ", 5) == 0) note("request", "POST");
    return length;
}
ssize_t send(int fd, const void *bytes, size_t size, int flags) { REAL(send); note_answer(bytes, size); return real(fd, bytes, size, flags); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (count > 0) note_answer(parts[0].iov_base, parts[0].iov_len);
    return real(fd, parts, count);
}
