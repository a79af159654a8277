// The last rank aborts from a thread of its own while all others wait for it.
#include <chrono>
#include <thread>

#include "ops/comm/communicator.h"

int main() {
  using trib::ops::MeshAxis;
  trib::ops::Communicator communicator;
  std::thread watcher([&] {
    if (communicator.rank() + 1 < communicator.size()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    communicator.abort(3);
  });
  if (communicator.rank() + 1 < communicator.size()) {
    communicator.barrier(MeshAxis::world).wait();
  }
  watcher.join();
  return 0;
}
