// Buffers of any size: aligned, charged to the ledger by what was asked for, resident by what is
// touched.
#include <cstdio>
#include <cstring>

#include <gtest/gtest.h>
#include <unistd.h>

#include "ops/base/memory_ledger.h"
#include "ops/base/tensor.h"

namespace trib {
namespace {

std::int64_t resident_bytes() {
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  long size = 0, resident = 0;
  const int found = std::fscanf(file, "%ld %ld", &size, &resident);
  std::fclose(file);
  return found == 2 ? resident * ::sysconf(_SC_PAGESIZE) : 0;
}

class BufferOf : public testing::TestWithParam<std::size_t> {};

TEST_P(BufferOf, AnySizeIsAlignedChargedAndWritable) {
  for (const MemoryKind kind : {MemoryKind::activations, MemoryKind::ingest}) {
    const std::int64_t before = memory_ledger::use(kind).live;
    {
      Buffer buffer(GetParam(), kind);
      EXPECT_EQ(buffer.size(), GetParam());
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
      EXPECT_EQ(memory_ledger::use(kind).live - before, static_cast<std::int64_t>(GetParam()));
      if (GetParam() > 0) std::memset(buffer.data(), 1, buffer.size());
    }
    EXPECT_EQ(memory_ledger::use(kind).live, before);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, BufferOf,
                         testing::Values(0, 1, 4096, 4194303, 4194304, 4194305, 6291457, 33554432));

TEST(LargeBuffer, OnlyWhatIsTouchedBecomesResident) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory of their own";
#endif
  constexpr std::int64_t kBytes = std::int64_t{512} << 20, kTouched = std::int64_t{32} << 20;
  const std::int64_t before = resident_bytes();
  Buffer buffer(kBytes, MemoryKind::activations);
  std::memset(buffer.data(), 1, kTouched);
  EXPECT_LT(resident_bytes() - before, kTouched + (std::int64_t{8} << 20));
}

TEST(LargeTensor, OfZerosIsZero) {
  const Tensor zeros = Tensor::zeros({3, 1000003});
  for (std::int64_t i = 0; i < zeros.numel(); i += 997) ASSERT_EQ(zeros.data<float>()[i], 0.0F);
  EXPECT_EQ(zeros.data<float>()[zeros.numel() - 1], 0.0F);
}

}  // namespace
}  // namespace trib
