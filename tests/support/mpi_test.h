// For tests that run as several ranks under mpirun; tests/support/mpi_main.cc is their main.
#pragma once

#include "ops/comm/communicator.h"

namespace trib::test {

/// The communicator of the test program. It is not split yet when the first test begins.
ops::Communicator& communicator();

}  // namespace trib::test
