#include "io/hdf5_lock.h"

namespace trib::io {

std::recursive_mutex& hdf5_family_lock() {
  static std::recursive_mutex lock;
  return lock;
}

}  // namespace trib::io
