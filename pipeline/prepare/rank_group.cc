#include "pipeline/prepare/rank_group.h"

#include <cstdint>
#include <cstdio>
#include <numeric>
#include <span>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

// Ranks share the work by counting it, not by time: one may have to wait long for the slowest.
constexpr std::chrono::hours kTimeout{24};

struct Outcome {
  ExitCode code = ExitCode::ok;
  std::string message;
};

Outcome outcome_of(const std::function<void()>& body) {
  try {
    body();
    return {};
  } catch (const Error& error) {
    return {error.exit_code(), error.what()};
  } catch (const std::exception& error) {
    return {ExitCode::runtime, error.what()};
  }
}

}  // namespace

RankGroup::RankGroup() {
  communicator_.split({communicator_.size(), 1, 1});
  communicator_.set_timeout(kTimeout);
}

int RankGroup::run(const std::function<void()>& prepare, const std::function<void()>& work) {
  const Outcome prepared = outcome_of(prepare);
  std::vector<double> codes(static_cast<std::size_t>(size()), 0);
  codes[static_cast<std::size_t>(rank())] = static_cast<double>(prepared.code);
  communicator_.all_reduce_sum(ops::MeshAxis::world, std::span(codes)).wait();
  for (std::size_t r = 0; r < codes.size(); ++r) {
    if (codes[r] == 0) continue;
    if (static_cast<int>(r) == rank()) print_error(prepared.message);
    // So that no launcher kills this rank while it still speaks.
    communicator_.barrier(ops::MeshAxis::world).wait();
    return static_cast<int>(codes[r]);
  }
  const Outcome worked = outcome_of(work);
  if (worked.code == ExitCode::ok) return 0;
  print_error(worked.message);
  if (size() > 1) communicator_.abort(static_cast<int>(worked.code));
  return static_cast<int>(worked.code);
}

std::vector<std::string> RankGroup::gather(const std::string& own) {
  std::vector<double> sizes(static_cast<std::size_t>(size()), 0);
  sizes[static_cast<std::size_t>(rank())] = static_cast<double>(own.size());
  communicator_.all_reduce_sum(ops::MeshAxis::world, std::span(sizes)).wait();
  const std::vector<std::int64_t> counts(sizes.begin(), sizes.end());
  std::string joined(
      static_cast<std::size_t>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0})),
      '\0');
  communicator_
      .all_gather(ops::MeshAxis::world, std::as_bytes(std::span(own)),
                  std::as_writable_bytes(std::span(joined)), counts)
      .wait();
  std::vector<std::string> texts;
  std::size_t at = 0;
  for (const std::int64_t count : counts) {
    texts.push_back(joined.substr(at, static_cast<std::size_t>(count)));
    at += static_cast<std::size_t>(count);
  }
  return texts;
}

void RankGroup::print_error(const std::string& message) const {
  const std::string speaker = size() > 1 ? fmt::format("rank {}: ", rank()) : "";
  fmt::print(stderr, "{}error: {}\n", speaker, message);
  std::fflush(stderr);
}

}  // namespace trib::pipeline
