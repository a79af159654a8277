// Runs all tests on every rank; the program fails if a test fails on any of them.
#include <iostream>
#include <memory>
#include <span>

#include <gtest/gtest.h>

#include "tests/support/mpi_test.h"

namespace trib::test {
namespace {

std::unique_ptr<ops::Communicator> instance;

/// What ranks other than the first print: failures.
class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
    std::cerr << "[  rank " << instance->rank() << "  ] "
              << (test != nullptr ? test->name() : "outside tests") << " failed\n"
              << (result.file_name() != nullptr ? result.file_name() : "") << ":"
              << result.line_number() << ": " << result.message() << std::endl;
  }
};

}  // namespace

ops::Communicator& communicator() {
  return *instance;
}

}  // namespace trib::test

int main(int argc, char** argv) {
  using trib::test::instance;
  testing::InitGoogleTest(&argc, argv);
  instance = std::make_unique<trib::ops::Communicator>();
  // Less than the time limit of ctest, so that a hang is reported by name.
  instance->set_timeout(std::chrono::seconds(60));
  if (instance->rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new trib::test::FailurePrinter);
  }
  double failures = RUN_ALL_TESTS();
  instance->all_reduce_sum(trib::ops::MeshAxis::world, std::span(&failures, 1)).wait();
  instance.reset();
  return failures > 0 ? 1 : 0;
}
