#include "tests/fuzz/isolated_cases.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp_dir.h"

namespace trib::test {
namespace {

constexpr std::chrono::seconds kHangs{60};
constexpr std::size_t kNote = 400;

struct Slot {
  std::atomic<Outcome> outcome;
  char note[kNote];
};

struct Shared {
  std::atomic<std::uint64_t> next;  // case that is running, or to run
  Slot slots[1];                    // as many as there are cases
};

class SharedMemory {
 public:
  explicit SharedMemory(std::uint64_t count)
      : bytes_(sizeof(Shared) + sizeof(Slot) * count),
        shared_(static_cast<Shared*>(
            mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    if (shared_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~SharedMemory() { munmap(shared_, bytes_); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  Shared* operator->() const { return shared_; }

 private:
  std::size_t bytes_;
  Shared* shared_;
};

// Damaged sizes must not be believed: what asks for more than this has believed one. Sanitizers
// reserve address space of their own and have a limit by option.
void limit_memory() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const rlimit limit{rlim_t{3} << 30, rlim_t{3} << 30};
  setrlimit(RLIMIT_AS, &limit);
#endif
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
}

[[noreturn]] void run_child(const SharedMemory& shared, std::uint64_t count,
                            const std::string& words,
                            const std::function<Outcome(std::uint64_t, std::string&)>& body) {
  const int file = open(words.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(file, STDERR_FILENO);
  dup2(file, STDOUT_FILENO);
  limit_memory();
  for (std::uint64_t i = shared->next; i < count; i = ++shared->next) {
    std::string note;
    const Outcome outcome = body(i, note);
    Slot& slot = shared->slots[i];
    std::strncpy(slot.note, note.c_str(), kNote - 1);
    slot.outcome = outcome;
  }
  _exit(0);
}

// The line that says what happened, and the end.
std::string last_words(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t error = text.find("ERROR: AddressSanitizer");
  if (error != std::string::npos) return text.substr(error, 2500);
  return text.substr(text.size() - std::min<std::size_t>(text.size(), 600));
}

}  // namespace

std::vector<CaseResult> run_isolated(
    std::uint64_t count, const std::function<Outcome(std::uint64_t, std::string& note)>& body) {
  const SharedMemory shared(count);
  const TempDir folder;
  std::vector<CaseResult> results(count);
  while (shared->next < count) {
    const pid_t child = fork();
    if (child == 0) run_child(shared, count, folder.file("words"), body);
    auto changed = std::chrono::steady_clock::now();
    std::uint64_t seen = shared->next;
    int status = 0;
    bool hung = false;
    while (waitpid(child, &status, WNOHANG) == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      const auto now = std::chrono::steady_clock::now();
      if (seen != shared->next) {
        seen = shared->next;
        changed = now;
      } else if (now - changed > kHangs) {
        hung = true;
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        break;
      }
    }
    if (shared->next >= count) break;
    CaseResult& stopped = results[shared->next];
    stopped.crashed = !hung;
    stopped.hung = hung;
    stopped.note =
        fmt::format("signal {}, status {}\n{}", WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                    WIFEXITED(status) ? WEXITSTATUS(status) : 0, last_words(folder.file("words")));
    ++shared->next;
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    results[i].outcome = shared->slots[i].outcome;
    if (results[i].note.empty()) results[i].note = shared->slots[i].note;
  }
  return results;
}

}  // namespace trib::test
