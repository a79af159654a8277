#include "pipeline/engine/failure.h"

#include <new>

#include <fmt/format.h>

namespace trib::pipeline {

bool Failure::record_current(const std::string& node, const std::string& subject) {
  ExitCode exit_code = ExitCode::runtime;
  std::string message;
  try {
    throw;
  } catch (const Error& error) {
    exit_code = error.exit_code();
    message = error.what();
  } catch (const std::bad_alloc&) {
    message = "out of memory";
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "unknown exception";
  }
  const std::lock_guard lock(mutex_);
  if (error_) return false;
  if (!node.empty()) {
    const std::string at = subject.empty() ? "" : fmt::format(" ({})", subject);
    message = fmt::format("node '{}'{}: {}", node, at, message);
  }
  error_.emplace(exit_code, message);
  happened_ = true;
  return true;
}

void Failure::rethrow() const {
  const std::lock_guard lock(mutex_);
  if (error_) throw Error(*error_);
}

}  // namespace trib::pipeline
