// Memory of one training step: allocation is a pointer bump, everything is freed at once.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "ops/base/float_ptr.h"
#include "ops/base/memory_ledger.h"
#include "ops/base/tensor.h"

namespace trib {

/// A bump allocator for what one step keeps between forward and backward (activations) and for
/// what a kernel needs for a moment (scratch, inside a Scope). Not thread-safe: the model's layers
/// run one after another. Blocks are 64-byte aligned.
///
/// If the capacity does not suffice the arena adds a block; the next reset() replaces all blocks by
/// one as large as the peak, so that steady state is a single allocation.
class StepArena {
 public:
  explicit StepArena(std::size_t capacity_bytes = 0, MemoryKind kind = MemoryKind::activations);

  /// Uninitialised memory for `count` floats.
  float* floats(std::int64_t count);
  /// The same for numbers of either type.
  FloatPtr floats(std::int64_t count, DType dtype);
  /// Uninitialised tensor that is valid until reset() or the end of the enclosing Scope.
  Tensor tensor(const Shape& shape, DType dtype = DType::f32);

  /// Free everything. Tensors of the arena become invalid.
  void reset();

  std::size_t used() const { return used_; }
  /// Largest used() since construction.
  std::size_t peak() const { return peak_; }
  std::size_t capacity() const;

  /// A point in the sequence of allocations.
  struct Mark {
    std::size_t block = 0, offset = 0, used = 0;
  };
  Mark mark() const { return {block_, offset_, used_}; }
  /// Free what was allocated since `mark` was taken: it lived to the end of the backward pass of
  /// what needed it, and later backward passes may have its memory.
  void release(const Mark& mark);

  /// Frees on destruction what was allocated since construction.
  class Scope {
   public:
    explicit Scope(StepArena& arena) : arena_(arena), mark_(arena.mark()) {}
    ~Scope() { arena_.release(mark_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    StepArena& arena_;
    Mark mark_;
  };

 private:
  std::byte* allocate(std::size_t bytes);

  MemoryKind kind_;
  std::vector<std::unique_ptr<Buffer>> blocks_;
  std::size_t block_ = 0;   // block in use
  std::size_t offset_ = 0;  // first free byte in it
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
};

}  // namespace trib
