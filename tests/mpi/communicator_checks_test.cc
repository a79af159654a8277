// What the communicator reports when ranks disagree or stay away.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "ops/comm/communicator.h"
#include "tests/support/mpi_test.h"

namespace trib::ops {
namespace {

using test::communicator;
using testing::AllOf;
using testing::HasSubstr;

/// The message of the error a wait ends with, empty if it ends well.
template <class Expected>
std::string error_of(const Pending& pending) {
  try {
    pending.wait();
  } catch (const Expected& error) {
    return error.what();
  }
  return "";
}

TEST(CollectiveOrder, AgreementCostsNothingButTime) {
  communicator().set_check_order(true);
  std::vector<std::vector<float>> sums(20, std::vector<float>(100, 1.0f));
  std::vector<Pending> pending;
  for (auto& sum : sums) {
    pending.push_back(communicator().all_reduce_sum(MeshAxis::world, std::span(sum)));
    pending.push_back(communicator().barrier(MeshAxis::world));
  }
  const auto ranks = static_cast<std::size_t>(communicator().size());
  std::vector<std::int64_t> counts(ranks, 3);
  counts.front() = 0;
  std::vector<float> parts(3 * (ranks - 1), 1.0f), mine(communicator().rank() == 0 ? 0 : 3);
  pending.push_back(communicator().reduce_scatter_sum(MeshAxis::world, parts, mine, counts));
  std::vector<std::byte> own(mine.size()), all(parts.size());
  pending.push_back(communicator().all_gather(MeshAxis::world, own, all, counts));
  for (const Pending& operation : pending) operation.wait();
  EXPECT_EQ(mine, std::vector<float>(mine.size(), static_cast<float>(ranks)));
  for (const auto& sum : sums) {
    EXPECT_EQ(sum, std::vector<float>(100, static_cast<float>(communicator().size())));
  }
}

TEST(CollectiveOrder, DisagreementNamesBothCalls) {
  Communicator& comm = communicator();
  comm.set_check_order(true);
  std::vector<float> values(12);
  const bool is_odd = comm.rank() == 1;
  const Pending pending = is_odd ? comm.barrier(MeshAxis::world)
                                 : comm.all_reduce_sum(MeshAxis::world, std::span(values));
  EXPECT_THAT(error_of<RuntimeError>(pending),
              AllOf(HasSubstr("rank " + std::to_string(comm.rank()) + " of world calls"),
                    HasSubstr("all_reduce number"), HasSubstr("barrier number"),
                    HasSubstr("12 x 4 bytes")));

  std::vector<float> longer(is_odd ? 13 : 12);
  EXPECT_THAT(error_of<RuntimeError>(comm.all_reduce_sum(MeshAxis::world, std::span(longer))),
              AllOf(HasSubstr("12 x 4 bytes"), HasSubstr("13 x 4 bytes")));

  // As many bytes, cut in another way.
  const auto ranks = static_cast<std::size_t>(comm.size());
  std::vector<std::int64_t> counts(ranks, 4);
  if (is_odd) {
    counts.front() = 3;
    counts.back() = 5;
  }
  std::vector<std::byte> all(4 * ranks);
  const std::span<const std::byte> mine =
      std::span(all).first(static_cast<std::size_t>(counts[static_cast<std::size_t>(comm.rank())]));
  EXPECT_THAT(error_of<RuntimeError>(comm.all_gather(MeshAxis::world, mine, all, counts)),
              AllOf(HasSubstr("ranks disagree"), HasSubstr("uneven")));

  // What disagreed never started, so ranks that agree again can go on.
  comm.barrier(MeshAxis::world).wait();
}

TEST(Watchdog, NamesTheOperationAndTheRankItWaitsForTooLong) {
  Communicator& comm = communicator();
  comm.set_check_order(false);
  comm.barrier(MeshAxis::world).wait();
  comm.set_timeout(std::chrono::milliseconds(1000));
  if (comm.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(3000));
  const Pending pending = comm.barrier(MeshAxis::world);
  if (comm.rank() == 0) {
    EXPECT_THAT(error_of<PeerError>(pending),
                AllOf(HasSubstr("rank 0: barrier number"), HasSubstr("axis world"),
                      HasSubstr("is waiting for rank 1, which has not called it (its last call on "
                                "this axis is barrier number"),
                      HasSubstr(", finished); pending for 1.")));
  }
  comm.set_timeout(std::chrono::seconds(60));
  comm.barrier(MeshAxis::world).wait();  // the late barrier completes as well
}

}  // namespace
}  // namespace trib::ops
