// Finds out for which rank an operation waits. Internal to ops/comm.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "ops/comm/operation.h"

namespace trib::ops {

/// Ask the other ranks of an axis what they have called there, when an operation is pending for
/// some time, and answer those who ask.
///
/// The communication thread of every rank answers, also while the rank computes: one that does not
/// answer is stopped or lost; one that does tells how far it got. As long as operations complete
/// in time nothing is sent, and on a single rank nothing is done at all. To be used by the
/// communication thread alone, except for the setters.
class Watchdog {
 public:
  using Time = AwakeClock::Time;
  /// How often a thread with nothing else to do must call tick().
  static constexpr std::chrono::milliseconds kTick{100};

  /// Both are the thread's: the groups of this rank, and its operations in the order of their
  /// arrival.
  Watchdog(const Groups& groups, const std::list<Operation>& in_flight)
      : groups_(groups), in_flight_(in_flight) {}
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Take a communicator of its own; collective over the world group. Throws RuntimeError.
  void start();
  /// Leave together: return when all ranks are here, and answer until then. If one of them does
  /// not answer, say so and abort the run as a PeerError does.
  void end(AwakeClock& clock);

  /// An operation has arrived.
  void note(const Operation& operation);
  /// Answer, take in answers, ask. Whether it was time to do so.
  bool tick(Time now);
  /// Why an operation will not complete, if it is known or if it is pending longer than the
  /// timeout.
  std::optional<std::string> complaint(const Operation& operation) const;

  /// How long an operation may be pending while all of its ranks answer.
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }
  /// How long a rank may leave a question unanswered.
  void set_silence_limit(std::chrono::milliseconds limit) { silence_limit_ = limit; }

 private:
  /// What a rank tells of itself on an axis; exchanged as bytes.
  struct Answer {
    CallSignature last;             ///< the last call on the axis
    CallSignature oldest;           ///< the oldest call in flight on any axis
    std::int32_t oldest_axis = -1;  ///< its axis; -1 if none is in flight
    std::int32_t is_last_complete = 0;
    std::int32_t has_ended = 0;  ///< will not call anything more
    std::int32_t reserved = 0;   ///< no padding is sent
  };
  /// What is known of another rank of an axis.
  struct Peer {
    bool is_asked = false;  ///< and has not answered yet
    Time asked_at{};
    std::optional<Answer> answer;  ///< the newest
    Time answered_at{};
  };
  /// How a rank stands to an operation of this one.
  enum class Standing { has_called, is_late, has_ended, calls_another, is_silent };

  struct Message {
    Answer answer;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void receive();
  void send(int world_rank, int tag, const Answer* answer);
  void ask(MeshAxis axis);
  Answer answer(MeshAxis axis) const;
  /// After this time without an event it is time to ask (again).
  Time patience() const;
  bool is_silent(const Peer& peer) const;
  /// Whether it has a call in flight on another axis.
  static bool waits_elsewhere(const Peer& peer, MeshAxis axis);
  bool has_open_questions() const;
  /// A rank that does not answer, on any axis.
  std::optional<int> silent_rank() const;
  Standing standing(const Operation& operation, const Peer& peer) const;
  /// "rank 3 (tensor 1), which has not called it"
  std::string accuse(const Operation& operation, std::size_t group_rank) const;

  const Group& group(MeshAxis axis) const { return groups_[static_cast<std::size_t>(axis)]; }

  const Groups& groups_;
  const std::list<Operation>& in_flight_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  Time now_{}, ticked_at_{};
  bool has_ended_ = false;
  std::array<CallSignature, kMeshAxes> last_;       // calls on each axis
  std::array<std::vector<Peer>, kMeshAxes> peers_;  // by rank in the group
  std::list<Message> sending_;
  std::atomic<std::chrono::milliseconds> timeout_{std::chrono::seconds(300)};
  std::atomic<std::chrono::milliseconds> silence_limit_{std::chrono::seconds(10)};
};

}  // namespace trib::ops
