// The memory ledger: live and peak bytes of this process by kind.
//
// Every tensor buffer and every arena is charged to a kind when it is allocated and released when
// it is freed, so that "who holds the memory" has an exact answer at any time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace trib {

enum class MemoryKind : std::uint8_t {
  parameters,
  gradients,
  optimizer,
  activations,
  workspace,
  ingest,
  communication,  ///< buffers of collectives: gathered units, gradients on their way
  checkpoint,     ///< the training state on its way to disk
};
inline constexpr std::size_t kMemoryKinds = 8;

/// Name of a kind as it stands in metrics and reports.
std::string_view name_of(MemoryKind kind);

struct MemoryUse {
  std::int64_t live = 0;
  std::int64_t peak = 0;
};

/// Process-wide counters. All functions may be called from any thread.
namespace memory_ledger {
void charge(MemoryKind kind, std::int64_t bytes);
void release(MemoryKind kind, std::int64_t bytes);
MemoryUse use(MemoryKind kind);
std::array<MemoryUse, kMemoryKinds> snapshot();
/// Set each peak to the present live value.
void reset_peaks();
}  // namespace memory_ledger

/// An uninitialised block of memory, aligned to 64 bytes and charged to the ledger while it lives.
class Buffer {
 public:
  Buffer(std::size_t bytes, MemoryKind kind);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }
  MemoryKind kind() const { return kind_; }

 private:
  std::byte* data_;
  std::size_t bytes_;
  MemoryKind kind_;
};

}  // namespace trib
