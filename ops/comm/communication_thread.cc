#include "ops/comm/communication_thread.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ops/base/error.h"

namespace trib::ops {
namespace {

#ifdef NDEBUG
constexpr bool kCheckOrderAtFirst = false;
#else
constexpr bool kCheckOrderAtFirst = true;
#endif

/// Waiting that starts eager and turns polite: ranks often share cores with those who compute.
class Backoff {
 public:
  void reset() { polls_ = 0; }
  void pause() {
    constexpr int kSpins = 100, kYields = 100;
    ++polls_;
    if (polls_ <= kSpins) return;
    if (polls_ <= kSpins + kYields) return std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }

 private:
  int polls_ = 0;
};

/// Whether the system allows the call by which ranks of a node read each other's memory. Containers
/// often forbid it even for the own process, and Open MPI fails then instead of copying twice.
bool may_read_process_memory() {
  int from = 1, to = 0;
  const iovec remote{&from, sizeof from}, local{&to, sizeof to};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == sizeof to;
}

/// Whether a launcher started this process: Open MPI's own, a PMIx or PMI server, Slurm, Flux, JSM.
bool has_launcher() {
  const auto names = {
      "OMPI_COMM_WORLD_SIZE", "PMIX_NAMESPACE", "PMIX_RANK",         "PMI_RANK", "PMI_FD",
      "SLURM_PROCID",         "FLUX_URI",       "JSM_NAMESPACE_RANK"};
  return std::ranges::any_of(names, [](const char* name) { return std::getenv(name) != nullptr; });
}

/// How Open MPI is to work, where the environment does not say.
void choose_mpi_settings() {
  const auto choose = [](const char* name, const char* value) {
    setenv(name, value, /*overwrite=*/0);
  };
  if (!may_read_process_memory()) choose("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
  if (has_launcher()) return;
  // Alone it would start a daemon and look for networks, a third of a second for nothing. Without
  // the daemon all processes of a user would have one folder for temporary files, and take it away
  // from each other.
  choose("OMPI_MCA_ess_singleton_isolated", "1");
  choose("OMPI_MCA_orte_create_session_dirs", "0");
  choose("OMPI_MCA_pml", "ob1");
  choose("OMPI_MCA_btl", "self");
}

Group make_group(MPI_Comm comm, std::vector<int> world_ranks) {
  Group group;
  group.world_ranks = std::move(world_ranks);
  group.comm = comm;
  check_mpi(MPI_Comm_dup(comm, &group.order_comm), "MPI_Comm_dup");
  // Failures come back as status codes instead of ending the process.
  check_mpi(MPI_Comm_set_errhandler(group.comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_set_errhandler(group.order_comm, MPI_ERRORS_RETURN),
            "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(comm, &group.rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm, &group.size), "MPI_Comm_size");
  return group;
}

Group start_mpi() {
  int is_initialized = 0;
  MPI_Initialized(&is_initialized);
  if (is_initialized != 0) throw RuntimeError("MPI was already started in this process");
  choose_mpi_settings();
  int provided = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_SERIALIZED) {
    throw RuntimeError(fmt::format("MPI lacks support for threads: level {} asked for, {} provided",
                                   static_cast<int>(MPI_THREAD_SERIALIZED), provided));
  }
  MPI_Comm world = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &world), "MPI_Comm_dup");
  int size = 0;
  check_mpi(MPI_Comm_size(world, &size), "MPI_Comm_size");
  std::vector<int> ranks(static_cast<std::size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return make_group(world, std::move(ranks));
}

bool is_complete(MPI_Request& request) {
  int flag = 0;
  check_mpi(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), "MPI_Test");
  return flag != 0;
}

}  // namespace

CommunicationThread::CommunicationThread() : check_order_(kCheckOrderAtFirst) {
  const auto started = std::make_shared<Completion>();
  thread_ = std::thread([this, started] { run(*started); });
  try {
    started->wait();
  } catch (...) {
    thread_.join();
    throw;
  }
}

CommunicationThread::~CommunicationThread() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void CommunicationThread::split(const MeshShape& mesh) {
  // Others cannot be watched while this thread is inside the split: wait for them before it.
  Operation barrier;
  barrier.axis = MeshAxis::world;
  barrier.signature.collective = static_cast<std::int32_t>(Collective::barrier);
  barrier.start = MPI_Ibarrier;
  barrier.completion = std::make_shared<Completion>();
  const auto all_are_here = barrier.completion;
  submit(std::move(barrier));
  all_are_here->wait();

  const auto done = std::make_shared<Completion>();
  {
    const std::lock_guard lock(mutex_);
    errand_ = [this, mesh, done] {
      try {
        const Group& world = group(MeshAxis::world);
        for (const MeshAxis axis :
             {MeshAxis::data, MeshAxis::shard, MeshAxis::tensor, MeshAxis::samples}) {
          MPI_Comm comm = MPI_COMM_NULL;
          std::vector<int> ranks = mesh.group(axis, world.rank);
          check_mpi(MPI_Comm_split(world.comm, ranks.front(), world.rank, &comm), "MPI_Comm_split");
          groups_[static_cast<std::size_t>(axis)] = make_group(comm, std::move(ranks));
        }
        done->finish();
      } catch (...) {
        done->finish(std::current_exception());
      }
    };
  }
  wake_.notify_one();
  done->wait();
}

void CommunicationThread::submit(Operation operation) {
  operation.check_order = check_order_;
  {
    const std::lock_guard lock(mutex_);
    if (observer_ != nullptr) {
      operation.observer = observer_;
      operation.submitted = std::chrono::steady_clock::now();
    }
    operation.signature.sequence = submitted_on_axis_[static_cast<std::size_t>(operation.axis)]++;
    submitted_.push_back(std::move(operation));
  }
  wake_.notify_one();
}

void CommunicationThread::set_observer(OperationObserver observer) {
  auto shared = observer ? std::make_shared<const OperationObserver>(std::move(observer)) : nullptr;
  const std::lock_guard lock(mutex_);
  observer_.swap(shared);
}

void CommunicationThread::abort(int exit_code) {
  std::fflush(nullptr);
  if (group(MeshAxis::world).size == 1) std::_Exit(exit_code);
  {
    const std::lock_guard lock(mutex_);
    if (abort_code_ == 0) abort_code_ = exit_code;
  }
  wake_.notify_one();
  // The thread ends the process, unless it is stuck inside MPI.
  std::this_thread::sleep_for(std::chrono::seconds(2));
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

void CommunicationThread::run(Completion& started) {
  try {
    groups_[static_cast<std::size_t>(MeshAxis::world)] = start_mpi();
    watchdog_.start();
  } catch (...) {
    return started.finish(std::current_exception());
  }
  started.finish();
  Backoff backoff;
  while (collect()) {
    if (progress()) {
      backoff.reset();
    } else {
      backoff.pause();
    }
  }
  watchdog_.end(clock_);
  MPI_Finalize();
}

bool CommunicationThread::collect() {
  std::function<void()> errand;
  {
    std::unique_lock lock(mutex_);
    if (in_flight_.empty()) {
      const auto has_work = [&] {
        return !submitted_.empty() || errand_ || is_stopping_ || abort_code_ != 0;
      };
      if (group(MeshAxis::world).size == 1) {
        wake_.wait(lock, has_work);
      } else {  // other ranks may ask
        wake_.wait_for(lock, Watchdog::kTick, has_work);
      }
    }
    if (abort_code_ != 0) MPI_Abort(MPI_COMM_WORLD, abort_code_);
    in_flight_.splice(in_flight_.end(), submitted_);
    errand = std::exchange(errand_, nullptr);
    if (is_stopping_ && !errand) {
      const auto has_failed = [](const Operation& operation) { return operation.has_failed; };
      if (in_flight_.empty()) return false;
      if (std::all_of(in_flight_.begin(), in_flight_.end(), has_failed)) {
        MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::peer));
      }
    }
  }
  if (errand) errand();
  return true;
}

bool CommunicationThread::progress() {
  bool has_progressed = false;
  std::array<bool, kMeshAxes> is_axis_blocked{};
  const auto now = clock_.read();
  for (auto operation = in_flight_.begin(); operation != in_flight_.end();) {
    const auto stage = operation->stage;
    if (stage == Operation::Stage::arrived) {
      operation->since = now;
      watchdog_.note(*operation);
    }
    std::exception_ptr error;
    try {
      advance(*operation, is_axis_blocked[static_cast<std::size_t>(operation->axis)]);
      if (operation->stage == Operation::Stage::done && !operation->has_failed) {
        operation->report();
      }
    } catch (...) {
      error = std::current_exception();
      operation->stage = Operation::Stage::done;
    }
    has_progressed = has_progressed || operation->stage != stage;
    if (operation->stage == Operation::Stage::done) {
      if (!operation->has_failed) operation->completion->finish(error);
      operation = in_flight_.erase(operation);
    } else {
      ++operation;
    }
  }
  watch(now);
  return has_progressed;
}

void CommunicationThread::watch(AwakeClock::Time now) {
  if (!watchdog_.tick(now)) return;
  for (Operation& operation : in_flight_) {
    if (operation.has_failed) continue;
    if (const auto complaint = watchdog_.complaint(operation)) {
      operation.has_failed = true;
      operation.completion->finish(std::make_exception_ptr(PeerError(*complaint)));
    }
  }
}

void CommunicationThread::advance(Operation& operation, bool& is_axis_blocked) {
  using Stage = Operation::Stage;
  const Group& ranks = group(operation.axis);
  if (operation.stage == Stage::arrived) {
    operation.stage = Stage::agreed;
    if (operation.check_order) {
      operation.of_group.resize(static_cast<std::size_t>(ranks.size));
      operation.of_group[static_cast<std::size_t>(ranks.rank)] = operation.signature;
      check_mpi(
          MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, operation.of_group.data(),
                         sizeof(CallSignature), MPI_BYTE, ranks.order_comm, &operation.request),
          "MPI_Iallgather");
      operation.stage = Stage::comparing;
    }
  }
  if (operation.stage == Stage::comparing && is_complete(operation.request)) {
    compare(operation);
    operation.stage = Stage::agreed;
  }
  // All ranks must start the operations of an axis in the same order, whatever the order in which
  // they saw the comparisons complete.
  if (operation.stage == Stage::agreed && !is_axis_blocked) {
    if (operation.observer != nullptr) operation.started = std::chrono::steady_clock::now();
    check_mpi(operation.start(ranks.comm, &operation.request),
              name_of(operation.collective()).data());
    operation.stage = Stage::running;
  }
  if (operation.stage == Stage::comparing || operation.stage == Stage::agreed) {
    is_axis_blocked = true;
  }
  if (operation.stage == Stage::running && is_complete(operation.request)) {
    operation.stage = Stage::done;
  }
}

void CommunicationThread::compare(const Operation& operation) const {
  const auto other = std::find_if(
      operation.of_group.begin(), operation.of_group.end(),
      [&](const CallSignature& signature) { return !(signature == operation.signature); });
  if (other == operation.of_group.end()) return;
  throw RuntimeError(fmt::format(
      "ranks disagree: rank {} of {} calls {}, rank {} calls {}", group(operation.axis).rank,
      name_of(operation.axis), describe(operation.axis, operation.signature),
      other - operation.of_group.begin(), describe(operation.axis, *other)));
}

}  // namespace trib::ops
