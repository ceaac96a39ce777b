// Loaded into a process (LD_PRELOAD), writes down each change of files below $RECORDED, in the order
// in which they happened in all processes, to $RECORD; diskreplay.py reads it. $RECORD_PAGE is a
// page that they share, for the lock around each change and its line.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES_MOST 65536
#define REAL(name) real_##name = dlsym(RTLD_NEXT, #name)

struct __attribute__((packed)) line { uint32_t bytes; char what; uint64_t file, place; };

static const char *root;
static size_t root_bytes;
static int record = -1;
static int *lock;
static char *followed[FILES_MOST];  // by descriptor: the path by which it was opened

static int (*real_open64)(const char *, int, ...);
static int (*real_close)(int), (*real_fsync)(int), (*real_fdatasync)(int);
static int (*real_dup)(int), (*real_dup2)(int, int), (*real_dup3)(int, int, int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static int (*real_ftruncate64)(int, off64_t), (*real_posix_fallocate64)(int, off64_t, off64_t);
static int (*real_rename)(const char *, const char *), (*real_link)(const char *, const char *);
static int (*real_unlink)(const char *), (*real_rmdir)(const char *);
static int (*real_mkdir)(const char *, mode_t);

__attribute__((constructor)) static void begin(void) {
  REAL(open64), REAL(close), REAL(fsync), REAL(fdatasync), REAL(dup), REAL(dup2), REAL(dup3);
  REAL(write), REAL(pwrite64), REAL(ftruncate64), REAL(posix_fallocate64);
  REAL(rename), REAL(link), REAL(unlink), REAL(rmdir), REAL(mkdir);
  if (!(root = getenv("RECORDED"))) return;
  root_bytes = strlen(root);
  int page = real_open64(getenv("RECORD_PAGE"), O_RDWR | O_CLOEXEC);
  lock = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
  real_close(page);
  int opened = real_open64(getenv("RECORD"), O_WRONLY | O_APPEND | O_CLOEXEC);
  struct rlimit most;
  getrlimit(RLIMIT_NOFILE, &most);
  record = fcntl(opened, F_DUPFD_CLOEXEC, most.rlim_cur / 2);  // away from the program's own
  if (record < 0) abort();
  real_close(opened);
}

static void enter(void) { while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE)) sched_yield(); }

static void leave(void) {
  int kept = errno;
  __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
  errno = kept;
}

static int ours(const char *path) {
  if (record < 0 || strncmp(path, root, root_bytes)) return 0;
  return path[root_bytes] == '/' || !path[root_bytes];
}

static int known(int fd) { return fd >= 0 && fd < FILES_MOST && followed[fd] != 0; }

static uint64_t number(int fd) { struct stat found; fstat(fd, &found); return found.st_ino; }

static void tell(char what, uint64_t file, uint64_t place, const void *more, size_t bytes) {
  struct line head = {bytes, what, file, place};
  struct iovec parts[2] = {{&head, sizeof head}, {(void *)more, bytes}};
  ssize_t whole = sizeof head + bytes;
  if (syscall(SYS_writev, record, parts, 2) != whole) abort();
}

static void tell_path(char what, uint64_t file, const char *path) {
  tell(what, file, 0, path, strlen(path));
}

static void forget(int fd) { if (known(fd)) { free(followed[fd]); followed[fd] = 0; } }

static int opened(const char *path, int flags, mode_t mode) {
  if (!ours(path)) return real_open64(path, flags, mode);
  enter();
  struct stat before;
  int there = !stat(path, &before);
  int fd = real_open64(path, flags, mode);
  if (known(fd)) forget(fd);
  if (fd >= 0 && fd < FILES_MOST) {
    followed[fd] = strdup(path);
    if (!there) tell_path('C', number(fd), path);
    else if (flags & O_TRUNC) tell('T', number(fd), 0, 0, 0);
  }
  leave();
  return fd;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more); \
    return opened(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
int __open_2(const char *path, int flags) { return opened(path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(path, flags, 0); }

int close(int fd) { forget(fd); return real_close(fd); }

static int copied(int from, int to) {
  if (to < 0 || from == to) return to;
  forget(to);
  if (known(from) && to < FILES_MOST) followed[to] = strdup(followed[from]);
  return to;
}
int dup(int from) { return copied(from, real_dup(from)); }
int dup2(int from, int to) { return copied(from, real_dup2(from, to)); }
int dup3(int from, int to, int flags) { return copied(from, real_dup3(from, to, flags)); }

ssize_t write(int fd, const void *data, size_t bytes) {
  if (!known(fd)) return real_write(fd, data, bytes);
  enter();
  struct stat found;
  fstat(fd, &found);
  int appends = fcntl(fd, F_GETFL) & O_APPEND;
  uint64_t place = appends ? (uint64_t)found.st_size : (uint64_t)lseek(fd, 0, SEEK_CUR);
  ssize_t written = real_write(fd, data, bytes);
  if (written > 0) tell('W', found.st_ino, place, data, written);
  leave();
  return written;
}

static ssize_t put(int fd, const void *data, size_t bytes, off64_t place) {
  if (!known(fd)) return real_pwrite64(fd, data, bytes, place);
  enter();
  ssize_t written = real_pwrite64(fd, data, bytes, place);
  if (written > 0) tell('W', number(fd), place, data, written);
  leave();
  return written;
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { return put(fd, data, n, at); }
ssize_t pwrite(int fd, const void *data, size_t n, off64_t at) { return put(fd, data, n, at); }

static int cut(int fd, off64_t size) {
  if (!known(fd)) return real_ftruncate64(fd, size);
  enter();
  int failed = real_ftruncate64(fd, size);
  if (!failed) tell('T', number(fd), size, 0, 0);
  leave();
  return failed;
}
int ftruncate64(int fd, off64_t size) { return cut(fd, size); }
int ftruncate(int fd, off64_t size) { return cut(fd, size); }

static int extend(int fd, off64_t from, off64_t bytes) {
  if (!known(fd)) return real_posix_fallocate64(fd, from, bytes);
  enter();
  struct stat before;
  fstat(fd, &before);
  int failed = real_posix_fallocate64(fd, from, bytes);
  if (!failed && from + bytes > before.st_size) tell('T', before.st_ino, from + bytes, 0, 0);
  leave();
  return failed;
}
int posix_fallocate64(int fd, off64_t from, off64_t bytes) { return extend(fd, from, bytes); }
int posix_fallocate(int fd, off64_t from, off64_t bytes) { return extend(fd, from, bytes); }

static int synced(int fd, int (*real)(int)) {
  if (!known(fd)) return real(fd);
  enter();
  int failed = real(fd);
  struct stat found;
  fstat(fd, &found);
  if (!failed && S_ISDIR(found.st_mode)) tell_path('F', found.st_ino, followed[fd]);
  else if (!failed) tell('S', found.st_ino, 0, 0, 0);
  leave();
  return failed;
}
int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

static int two(char what, int (*real)(const char *, const char *), const char *a, const char *b) {
  if (!ours(a) && !ours(b)) return real(a, b);
  enter();
  int failed = real(a, b);
  if (!failed) {
    size_t first = strlen(a) + 1, second = strlen(b);
    char both[first + second];
    memcpy(both, a, first), memcpy(both + first, b, second);
    tell(what, 0, 0, both, first + second);
  }
  leave();
  return failed;
}
int rename(const char *from, const char *to) { return two('R', real_rename, from, to); }
int link(const char *from, const char *to) { return two('L', real_link, from, to); }

static int gone(int (*real)(const char *), const char *path) {
  if (!ours(path)) return real(path);
  enter();
  int failed = real(path);
  if (!failed) tell_path('U', 0, path);
  leave();
  return failed;
}
int unlink(const char *path) { return gone(real_unlink, path); }
int rmdir(const char *path) { return gone(real_rmdir, path); }

int mkdir(const char *path, mode_t mode) {
  if (!ours(path)) return real_mkdir(path, mode);
  enter();
  int failed = real_mkdir(path, mode);
  if (!failed) tell_path('D', 0, path);
  leave();
  return failed;
}
