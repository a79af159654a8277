// A test that fails on one rank alone; the program must fail as a whole.
#include <gtest/gtest.h>

#include "tests/support/mpi_test.h"

TEST(OneRank, Fails) {
  EXPECT_NE(trib::test::communicator().rank(), 1);
}
