// Preloaded into the program by tests: a file whose name contains $HANG_FILE is on a lost server or
// a broken disk. Opening it never ends once it was opened $HANG_AFTER times (0 unless given). With
// $READ_FLAG it can be opened always, and reading it never ends once there is a file of that name;
// with $READ_FAILS it fails then.
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

namespace {

void hang_if_asked(const char* path) {
  const char* const name = std::getenv("HANG_FILE");
  if (name == nullptr || path == nullptr || std::strstr(path, name) == nullptr) return;
  if (std::getenv("READ_FLAG") != nullptr) return;
  static std::atomic<int> opened{0};
  const char* const after = std::getenv("HANG_AFTER");
  if (opened++ < (after == nullptr ? 0 : std::atoi(after))) return;
  for (;;) pause();
}

bool cannot_be_read(int descriptor) {
  const char* const name = std::getenv("HANG_FILE");
  const char* const flag = std::getenv("READ_FLAG");
  if (name == nullptr || flag == nullptr || access(flag, F_OK) != 0) return false;
  char link[64], path[4096];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof(path) - 1);
  if (length < 0) return false;
  path[length] = 0;
  return std::strstr(path, name) != nullptr;
}

ssize_t end_read() {
  while (std::getenv("READ_FAILS") == nullptr) pause();
  errno = EIO;
  return -1;
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int mode_of(int flags, va_list arguments) {
  return (flags & O_CREAT) != 0 ? va_arg(arguments, int) : 0;
}

}  // namespace

// With the names of the C library, whose declarations some headers turn into macros or aliases.
#define TRIB_OPEN(name)                                                \
  extern "C" int name(const char* path, int flags, ...) {              \
    va_list arguments;                                                 \
    va_start(arguments, flags);                                        \
    const int mode = mode_of(flags, arguments);                        \
    va_end(arguments);                                                 \
    hang_if_asked(path);                                               \
    return next<int(const char*, int, ...)>(#name)(path, flags, mode); \
  }
#define TRIB_FOPEN(name)                                             \
  extern "C" FILE* name(const char* path, const char* mode) {        \
    hang_if_asked(path);                                             \
    return next<FILE*(const char*, const char*)>(#name)(path, mode); \
  }

#define TRIB_PREAD(name)                                                                      \
  extern "C" ssize_t name(int descriptor, void* bytes, size_t count, off_t offset) {          \
    if (cannot_be_read(descriptor)) return end_read();                                        \
    return next<ssize_t(int, void*, size_t, off_t)>(#name)(descriptor, bytes, count, offset); \
  }

TRIB_OPEN(open)
TRIB_OPEN(open64)
TRIB_FOPEN(fopen)
TRIB_FOPEN(fopen64)
TRIB_PREAD(pread)
TRIB_PREAD(pread64)
