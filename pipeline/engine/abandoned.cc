#include "pipeline/engine/abandoned.h"

#include <atomic>

#include "io/hdf5_lock.h"

namespace trib::pipeline {
namespace {

std::atomic<int> abandoned{0};

}  // namespace

Abandoned::Abandoned() {
  ++abandoned;
  io::hdf5_family_lock().count_given_up(1);
}
Abandoned::~Abandoned() {
  io::hdf5_family_lock().count_given_up(-1);
  --abandoned;
}

int abandoned_threads() {
  return abandoned;
}

}  // namespace trib::pipeline
