#include "ops/comm/watchdog.h"

#include <algorithm>
#include <cstdio>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::ops {
namespace {

/// A question is an empty message with the axis as its tag; its answer has this tag.
constexpr int answer_tag(int axis) {
  return axis + static_cast<int>(kMeshAxes);
}

}  // namespace

void Watchdog::start() {
  const Group& world = group(MeshAxis::world);
  if (world.size == 1) return;
  check_mpi(MPI_Comm_dup(world.comm, &comm_), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

void Watchdog::end(AwakeClock& clock) {
  if (comm_ == MPI_COMM_NULL) return;
  has_ended_ = true;
  // Nobody asks after the first barrier, and who enters the second has all answers: after it
  // nothing is under way, and all may finalise MPI.
  for (const bool is_first : {true, false}) {
    MPI_Request barrier = MPI_REQUEST_NULL;
    MPI_Ibarrier(comm_, &barrier);
    const Time since = clock.read();
    for (;;) {
      int is_together = 0;
      MPI_Test(&barrier, &is_together, MPI_STATUS_IGNORE);
      if (is_together != 0 && !has_open_questions()) break;
      now_ = clock.read();
      receive();
      if (is_first && is_together == 0 && now_ - since > patience()) ask(MeshAxis::world);
      if (const auto silent = silent_rank()) {
        fmt::print(stderr, "rank {}: has ended and waits for rank {}, which does not answer\n",
                   group(MeshAxis::world).rank, *silent);
        MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::peer));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  for (Message& message : sending_) MPI_Wait(&message.request, MPI_STATUS_IGNORE);
}

void Watchdog::note(const Operation& operation) {
  last_[static_cast<std::size_t>(operation.axis)] = operation.signature;
}

bool Watchdog::tick(Time now) {
  if (comm_ == MPI_COMM_NULL || now - ticked_at_ < kTick) return false;
  now_ = ticked_at_ = now;
  receive();
  // The oldest operation of an axis is the one that others may wait behind.
  std::array<bool, kMeshAxes> is_younger{};
  for (const Operation& operation : in_flight_) {
    if (std::exchange(is_younger[static_cast<std::size_t>(operation.axis)], true)) continue;
    if (now - operation.since > patience()) ask(operation.axis);
  }
  return true;
}

std::optional<std::string> Watchdog::complaint(const Operation& operation) const {
  const Time pending = now_ - operation.since;
  if (pending < patience()) return std::nullopt;
  const bool is_timed_out = pending > timeout_.load();
  const MeshAxis axis = operation.axis;
  const auto& peers = peers_[static_cast<std::size_t>(axis)];
  std::vector<std::size_t> lost, late;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    if (static_cast<int>(i) == group(axis).rank) continue;
    switch (standing(operation, peers[i])) {
      case Standing::has_called:
        break;
      case Standing::is_late:
        late.push_back(i);
        break;
      default:
        lost.push_back(i);
    }
  }
  if (lost.empty()) {
    if (!is_timed_out) return std::nullopt;
    // Who waits on another axis is not the cause, and knows more about it: let that rank speak
    // first.
    const bool all_wait = std::all_of(
        late.begin(), late.end(), [&](std::size_t i) { return waits_elsewhere(peers[i], axis); });
    if (!late.empty() && all_wait && pending < timeout_.load() + patience()) return std::nullopt;
  }

  const std::vector<std::size_t>& culprits = lost.empty() ? late : lost;
  std::string whom;
  constexpr std::size_t kNamed = 4;
  for (std::size_t i = 0; i < std::min(kNamed, culprits.size()); ++i) {
    whom += (i == 0 ? "" : " and for ") + accuse(operation, culprits[i]);
  }
  if (culprits.size() > kNamed) whom += fmt::format(" and for {} more", culprits.size() - kNamed);
  if (culprits.empty()) whom = "the network: all ranks have called it";
  return fmt::format("rank {}: {} is waiting for {}; pending for {:.1f} s",
                     group(MeshAxis::world).rank, describe(axis, operation.signature), whom,
                     std::chrono::duration<double>(pending).count());
}

Watchdog::Standing Watchdog::standing(const Operation& operation, const Peer& peer) const {
  if (is_silent(peer)) return Standing::is_silent;
  if (!peer.answer) return Standing::is_late;
  const CallSignature& last = peer.answer->last;
  if (last.sequence < operation.signature.sequence) {
    return peer.answer->has_ended != 0 ? Standing::has_ended : Standing::is_late;
  }
  const bool is_the_same_call = last.sequence == operation.signature.sequence;
  return is_the_same_call && !(last == operation.signature) ? Standing::calls_another
                                                            : Standing::has_called;
}

std::string Watchdog::accuse(const Operation& operation, std::size_t group_rank) const {
  const MeshAxis axis = operation.axis;
  const Peer& peer = peers_[static_cast<std::size_t>(axis)][group_rank];
  std::string text = fmt::format("rank {}", group(axis).world_ranks[group_rank]);
  if (axis != MeshAxis::world) text += fmt::format(" ({} {})", name_of(axis), group_rank);
  switch (standing(operation, peer)) {
    case Standing::is_silent:
      return text + ", which does not answer";
    case Standing::has_ended:
      return text + ", which has ended without calling it";
    case Standing::calls_another:
      return text + ", which calls " + describe(axis, peer.answer->last) + " instead";
    default:
      break;
  }
  if (!peer.answer) return text + ", which has not answered yet";
  const Answer& answer = *peer.answer;
  text += ", which has not called it (";
  if (answer.last.sequence < 0) {
    text += "it has called nothing on this axis";
  } else {
    text += fmt::format("its last call on this axis is {}, {}", name_of(answer.last),
                        answer.is_last_complete != 0 ? "finished" : "not finished");
  }
  if (waits_elsewhere(peer, axis)) {
    text += fmt::format("; it is itself in {} on axis {}", name_of(answer.oldest),
                        name_of(static_cast<MeshAxis>(answer.oldest_axis)));
  }
  return text + ")";
}

// Failures of MPI in what follows are not errors of their own: a rank that cannot be reached does
// not answer.

void Watchdog::receive() {
  sending_.remove_if([](Message& message) {
    int is_complete = 0;
    MPI_Test(&message.request, &is_complete, MPI_STATUS_IGNORE);
    return is_complete != 0;
  });
  for (;;) {
    int is_there = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_, &is_there, &status) != MPI_SUCCESS) return;
    if (is_there == 0) return;
    const int from = status.MPI_SOURCE, tag = status.MPI_TAG;
    if (tag < answer_tag(0)) {
      MPI_Recv(nullptr, 0, MPI_BYTE, from, tag, comm_, MPI_STATUS_IGNORE);
      const Answer own = answer(static_cast<MeshAxis>(tag));
      send(from, answer_tag(tag), &own);
    } else {
      Answer theirs;
      MPI_Recv(&theirs, sizeof theirs, MPI_BYTE, from, tag, comm_, MPI_STATUS_IGNORE);
      const auto axis = static_cast<std::size_t>(tag - answer_tag(0));
      const std::vector<int>& ranks = groups_[axis].world_ranks;
      const auto place = std::lower_bound(ranks.begin(), ranks.end(), from) - ranks.begin();
      Peer& peer = peers_[axis][static_cast<std::size_t>(place)];
      peer.is_asked = false;
      peer.answer = theirs;
      peer.answered_at = now_;
    }
  }
}

void Watchdog::ask(MeshAxis axis) {
  const Group& ranks = group(axis);
  std::vector<Peer>& peers = peers_[static_cast<std::size_t>(axis)];
  peers.resize(static_cast<std::size_t>(ranks.size));
  for (std::size_t i = 0; i < peers.size(); ++i) {
    Peer& peer = peers[i];
    if (static_cast<int>(i) == ranks.rank || peer.is_asked) continue;
    if (peer.answer && now_ - peer.answered_at < patience()) continue;
    peer.is_asked = true;
    peer.asked_at = now_;
    send(ranks.world_ranks[i], static_cast<int>(axis), nullptr);
  }
}

void Watchdog::send(int world_rank, int tag, const Answer* answer) {
  Message& message = sending_.emplace_back();
  if (answer != nullptr) message.answer = *answer;
  const int bytes = answer != nullptr ? static_cast<int>(sizeof *answer) : 0;
  MPI_Isend(&message.answer, bytes, MPI_BYTE, world_rank, tag, comm_, &message.request);
}

Watchdog::Answer Watchdog::answer(MeshAxis axis) const {
  Answer answer;
  answer.last = last_[static_cast<std::size_t>(axis)];
  answer.has_ended = has_ended_ ? 1 : 0;
  answer.is_last_complete =
      std::none_of(in_flight_.begin(), in_flight_.end(), [&](const Operation& operation) {
        return operation.axis == axis && operation.signature.sequence == answer.last.sequence;
      });
  if (!in_flight_.empty()) {
    answer.oldest = in_flight_.front().signature;
    answer.oldest_axis = static_cast<std::int32_t>(in_flight_.front().axis);
  }
  return answer;
}

Watchdog::Time Watchdog::patience() const {
  return std::min(silence_limit_.load(), timeout_.load()) / 4;
}

bool Watchdog::is_silent(const Peer& peer) const {
  return peer.is_asked && now_ - peer.asked_at > silence_limit_.load();
}

bool Watchdog::waits_elsewhere(const Peer& peer, MeshAxis axis) {
  if (!peer.answer) return false;
  return peer.answer->oldest_axis >= 0 && peer.answer->oldest_axis != static_cast<int>(axis);
}

bool Watchdog::has_open_questions() const {
  for (const auto& peers : peers_) {
    for (const Peer& peer : peers) {
      if (peer.is_asked) return true;
    }
  }
  return false;
}

std::optional<int> Watchdog::silent_rank() const {
  for (std::size_t axis = 0; axis < kMeshAxes; ++axis) {
    for (std::size_t i = 0; i < peers_[axis].size(); ++i) {
      if (is_silent(peers_[axis][i])) return groups_[axis].world_ranks[i];
    }
  }
  return std::nullopt;
}

}  // namespace trib::ops
