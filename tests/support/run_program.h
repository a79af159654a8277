// Runs a program as a user does: its exit code and what it printed, within a time limit.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::test {

inline std::string read_text(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

struct ProgramOptions {
  std::string directory = ".";                     ///< the program's working folder
  std::map<std::string, std::string> environment;  ///< added to this process's
  double timeout = 60;                             ///< seconds; after them the program is killed
  int signal = 0;                                  ///< sent when `signal_when` says so
  int signals = 1;                                 ///< how often, a moment apart
  std::function<bool()> signal_when;
  std::function<void(pid_t)> watch;  ///< called again and again while the program runs
};

struct ProgramResult {
  int exit_code = -1;  ///< 128 + signal if a signal ended it
  bool timed_out = false;
  double seconds = 0;
  std::string out, err;
};

/// Run `command` (program and arguments) to its end. A program that outlives the time limit is
/// ended with SIGTERM, which mpirun passes on to its ranks, and SIGKILL a little later.
inline ProgramResult run_program(const std::vector<std::string>& command,
                                 const ProgramOptions& options = {}) {
  using Clock = std::chrono::steady_clock;
  const TempDir output;
  const std::string out = output.file("out"), err = output.file("err");

  std::map<std::string, std::string> variables = options.environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const std::size_t equals = text.find('=');
    variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  const auto pointers = [](const std::vector<std::string>& texts) {
    std::vector<char*> list;
    for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));
    list.push_back(nullptr);
    return list;
  };

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str());
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT, 0600);
  const auto start = Clock::now();
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, command.front().c_str(), &actions, nullptr,
                                  pointers(command).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw RuntimeError("cannot start " + command.front());

  ProgramResult result;
  int signalled = 0;
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (options.signal != 0 && signalled < options.signals &&
        (signalled > 0 || options.signal_when())) {
      ++signalled;
      kill(pid, options.signal);
    }
    if (options.watch) options.watch(pid);
    if (result.seconds < options.timeout) continue;
    if (!result.timed_out) kill(pid, SIGTERM);
    result.timed_out = true;
    if (result.seconds > options.timeout + 5) kill(pid, SIGKILL);
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_text(out);
  result.err = read_text(err);
  return result;
}

}  // namespace trib::test
