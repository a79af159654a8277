// Preloaded into the program by tests: opening a file whose name contains $HANG_FILE never ends, as
// on a lost server, once it was opened $HANG_AFTER times (0 unless given).
#include <atomic>
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
  static std::atomic<int> opened{0};
  const char* const after = std::getenv("HANG_AFTER");
  if (opened++ < (after == nullptr ? 0 : std::atoi(after))) return;
  for (;;) pause();
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

TRIB_OPEN(open)
TRIB_OPEN(open64)
TRIB_FOPEN(fopen)
TRIB_FOPEN(fopen64)
