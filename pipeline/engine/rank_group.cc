#include "pipeline/engine/rank_group.h"

#include <cstdint>
#include <cstdio>
#include <exception>
#include <numeric>

#include <fmt/format.h>

namespace trib::pipeline {

ExitCode RankGroup::all_ready(const std::function<void()>& body) {
  ExitCode code = ExitCode::ok;
  std::string message;
  try {
    body();
  } catch (const Error& error) {
    code = error.exit_code();
    message = error.what();
  } catch (const std::exception& error) {
    code = ExitCode::runtime;
    message = error.what();
  }
  const std::vector<ExitCode> codes = gather(code);
  for (int failed = 0; failed < size(); ++failed) {
    const ExitCode found = codes[static_cast<std::size_t>(failed)];
    if (found == ExitCode::ok) continue;
    if (failed == rank()) print_error(message);
    // So that no launcher kills this rank while it still speaks.
    barrier();
    return found;
  }
  return ExitCode::ok;
}

std::vector<std::string> RankGroup::gather(const std::string& own) {
  const std::vector<std::int64_t> counts = gather(static_cast<std::int64_t>(own.size()));
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

int RankGroup::end_all(ExitCode code) {
  if (size() > 1) communicator_.abort(static_cast<int>(code));
  return static_cast<int>(code);
}

}  // namespace trib::pipeline
