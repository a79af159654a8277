// Runs all tests on every rank; the program fails if a test fails on any of them.
#include <chrono>
#include <iostream>
#include <memory>
#include <span>
#include <string>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/mpi_test.h"

namespace trib::test {
namespace {

std::unique_ptr<ops::Communicator> instance;

/// What ranks other than the first print: failures.
class FailurePrinter : public testing::EmptyTestEventListener {
  // The name is kept because GoogleTest holds the lock it is asked under when it tells a result.
  void OnTestStart(const testing::TestInfo& test) override { test_ = test.name(); }
  void OnTestEnd(const testing::TestInfo&) override { test_ = "outside tests"; }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::cerr << "[  rank " << instance->rank() << "  ] " << test_ << " failed\n"
              << (result.file_name() != nullptr ? result.file_name() : "") << ":"
              << result.line_number() << ": " << result.message() << std::endl;
  }

  std::string test_ = "outside tests";
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
  try {
    instance->all_reduce_sum(trib::ops::MeshAxis::world, std::span(&failures, 1)).wait();
  } catch (const trib::Error& error) {
    std::cerr << error.what() << std::endl;
    instance->abort(static_cast<int>(error.exit_code()));
  }
  instance.reset();
  return failures > 0 ? 1 : 0;
}
