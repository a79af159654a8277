#include "pipeline/engine/read_watch.h"

#include <future>
#include <memory>

#include <gtest/gtest.h>

#include "pipeline/engine/abandoned.h"

namespace trib::pipeline {
namespace {

// Whoever waits for a read may end with all else when it is done.
TEST(ReadWatch, GivesBackWhatAReadOwnsBeforeItIsDone) {
  Threads threads(1, 1);
  ReadWatch watch(threads);
  for (const double limit_seconds : {0.0, 60.0}) {
    const auto owned = std::make_shared<int>();
    const auto owners = std::make_shared<std::promise<long>>();
    watch.enqueue(
        limit_seconds, [owned] { return [owned] { return Sample(); }; },
        [owners, &owned](std::optional<Sample>, const std::exception_ptr&) {
          owners->set_value(owned.use_count());
        });
    EXPECT_EQ(owners->get_future().get(), 1) << limit_seconds;
  }
}

/// Tells how many threads are given up when it goes.
struct Witness {
  std::shared_ptr<std::promise<int>> abandoned;
  ~Witness() { abandoned->set_value(abandoned_threads()); }
};

// The process must not end by way of exit handlers before files of such a read are closed.
TEST(ReadWatch, AReadThatWasGivenUpCountsUntilWhatItOwnsIsGone) {
  Threads threads(1, 1);
  const auto abandoned = std::make_shared<std::promise<int>>();
  const auto given_up = std::make_shared<std::promise<void>>();
  std::promise<void> let_go;
  {
    ReadWatch watch(threads);
    watch.enqueue(
        0.01,
        [&] {
          return [let_go = &let_go, owned = std::make_shared<Witness>(abandoned)] {
            let_go->get_future().wait();
            return Sample();
          };
        },
        [given_up](std::optional<Sample>, const std::exception_ptr& error) {
          EXPECT_NE(error, nullptr);
          given_up->set_value();
        });
    given_up->get_future().wait();
  }
  let_go.set_value();
  EXPECT_EQ(abandoned->get_future().get(), 1);
}

}  // namespace
}  // namespace trib::pipeline
