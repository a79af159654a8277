#include "pipeline/engine/abandoned.h"

#include <atomic>

namespace trib::pipeline {
namespace {

std::atomic<int> abandoned{0};

}  // namespace

Abandoned::Abandoned() {
  ++abandoned;
}
Abandoned::~Abandoned() {
  --abandoned;
}

int abandoned_threads() {
  return abandoned;
}

}  // namespace trib::pipeline
