// Threads that were given up.
//
// A call that never returns cannot be called off. What waited for it goes on without it, and what
// it holds lives on. As long as there is such a thread the process must not end by way of
// destructors and exit handlers, which may wait for it or take away what it uses.
#pragma once

namespace trib::pipeline {

/// Count one thread as given up, for the life of this object.
class Abandoned {
 public:
  Abandoned();
  ~Abandoned();
  Abandoned(const Abandoned&) = delete;
  Abandoned& operator=(const Abandoned&) = delete;
};

/// Threads of the process that were given up and have not come back.
int abandoned_threads();

}  // namespace trib::pipeline
