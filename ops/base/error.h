// Errors that end a run, each with the exit code the program will return.
#pragma once

#include <stdexcept>
#include <string>

namespace trib {

/// Exit codes of the program. Signals add 130 (SIGINT), 138 (SIGUSR1), 143 (SIGTERM).
enum class ExitCode : int { ok = 0, config = 2, data = 3, runtime = 4, peer = 5 };

/// Base of every error thrown on purpose. The message carries values and places.
class Error : public std::runtime_error {
 public:
  Error(ExitCode exit_code, const std::string& message)
      : std::runtime_error(message), exit_code_(exit_code) {}
  ExitCode exit_code() const { return exit_code_; }

 private:
  ExitCode exit_code_;
};

/// The graph definition or the command line asks for something that cannot be.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(ExitCode::config, message) {}
};

/// A file is missing, broken or does not hold what was asked of it.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(ExitCode::data, message) {}
};

/// The program could not go on: out of memory, diverged, disk full, broken invariant.
class RuntimeError : public Error {
 public:
  explicit RuntimeError(const std::string& message) : Error(ExitCode::runtime, message) {}
};

/// Another rank failed or went missing.
class PeerError : public Error {
 public:
  explicit PeerError(const std::string& message) : Error(ExitCode::peer, message) {}
};

/// A tensor has another shape or type than its name promises.
class ShapeError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

}  // namespace trib
