#include "ops/base/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/buffer_pool.h"
#include "ops/base/error.h"

namespace trib {
namespace {

Tensor counted(const Shape& shape) {
  Tensor t = Tensor::empty(shape);
  for (std::int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(i);
  return t;
}

TEST(Tensor, ViewsShareElements) {
  Tensor t = counted({2, 3, 4});
  Tensor row = t.select(1, 2);
  EXPECT_EQ(row.shape(), (Shape{2, 4}));
  EXPECT_FALSE(row.is_contiguous());
  EXPECT_EQ(row.select(0, 1).data<float>()[3], 23);
  t.data<float>()[23] = -1;
  EXPECT_EQ(row.select(0, 1).data<float>()[3], -1);
}

TEST(Tensor, PermutedCopyIsContiguous) {
  const Tensor t = counted({2, 3, 4});
  const Tensor p = t.permute({2, 0, 1}).contiguous();
  EXPECT_EQ(p.shape(), (Shape{4, 2, 3}));
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 2; ++j) {
      for (int k = 0; k < 3; ++k) {
        EXPECT_EQ(p.data<float>()[(i * 2 + j) * 3 + k], static_cast<float>((j * 3 + k) * 4 + i));
      }
    }
  }
}

TEST(Tensor, DetachedPartsHaveOwnersOfTheirOwn) {
  Tensor whole = counted({2, 3});
  Tensor part = whole.select(0, 1).detached();
  EXPECT_TRUE(part.is_unique());
  const Tensor other = part;
  EXPECT_FALSE(part.is_unique());
  whole = {};
  EXPECT_EQ(part.data<float>()[2], 5);
}

TEST(Tensor, NeighboursAreJoined) {
  const std::int64_t before = memory_ledger::use(MemoryKind::ingest).live;
  Tensor whole = Tensor::zeros({3, 2, 4}, DType::f32, MemoryKind::ingest);
  std::vector<Tensor> parts;
  for (int i = 0; i < 3; ++i) parts.push_back(whole.select(0, i).detached());
  const float* data = whole.data<float>();
  whole = {};
  Tensor joined = Tensor::joined(parts);
  EXPECT_EQ(joined.shape(), (Shape{3, 2, 4}));
  EXPECT_EQ(joined.data<float>(), data);
  EXPECT_EQ(Tensor::joined(std::span(parts).subspan(1)).shape(), (Shape{2, 2, 4}));
  parts.clear();
  EXPECT_TRUE(joined.is_unique());
  joined.data<float>()[23] = 1;  // the memory is still there
  EXPECT_EQ(memory_ledger::use(MemoryKind::ingest).live - before, 3 * 2 * 4 * 4);
  joined = {};
  EXPECT_EQ(memory_ledger::use(MemoryKind::ingest).live, before);
}

TEST(Tensor, OthersAreNotJoined) {
  const Tensor whole = counted({3, 4});
  const auto undefined = [](std::vector<Tensor> parts) {
    return Tensor::joined(parts).numel() == 0;
  };
  EXPECT_TRUE(undefined({}));
  EXPECT_TRUE(undefined({whole.select(0, 0), whole.select(0, 2)}));
  EXPECT_TRUE(undefined({whole.select(0, 1), whole.select(0, 0)}));
  EXPECT_TRUE(undefined({whole.select(0, 0), counted({4})}));
  EXPECT_TRUE(undefined({whole.slice(0, 0, 1), whole.select(0, 1)}));
  EXPECT_TRUE(undefined({whole.select(1, 0), whole.select(1, 1)}));
}

TEST(BufferPool, UsesBuffersAgain) {
  const std::int64_t before = memory_ledger::use(MemoryKind::ingest).live;
  std::shared_ptr<Buffer> outlives;
  {
    BufferPool pool(1000, MemoryKind::ingest, 1);
    std::shared_ptr<Buffer> a = pool.take(), b = pool.take();
    const std::byte* first = a->data();
    a.reset();
    b.reset();  // one is idle, the other given back to the system
    EXPECT_EQ(memory_ledger::use(MemoryKind::ingest).live - before, 1000);
    outlives = pool.take();
    EXPECT_EQ(outlives->data(), first);
  }
  outlives->data()[999] = std::byte{1};
  outlives.reset();
  EXPECT_EQ(memory_ledger::use(MemoryKind::ingest).live, before);
}

TEST(Tensor, ReshapeInfersOneExtent) {
  EXPECT_EQ(counted({2, 3, 4}).reshape({-1, 4}).shape(), (Shape{6, 4}));
  EXPECT_THROW(counted({2, 3}).reshape({4, 2}), ShapeError);
  EXPECT_THROW(counted({2, 3}).permute({1, 0}).reshape({6}), ShapeError);
}

TEST(Tensor, ErrorsNameTheTensorAndBothShapes) {
  try {
    expect_shape(counted({2, 3, 4}), "x_bnd", {2, -1, 8});
    FAIL();
  } catch (const ShapeError& e) {
    EXPECT_STREQ(e.what(), "x_bnd: expected [2, *, 8], found [2, 3, 4]");
  }
  Tensor bytes = Tensor::zeros({3}, DType::u8);
  EXPECT_THROW(bytes.data<float>(), ShapeError);
}

TEST(Tensor, LedgerCountsLiveAndPeak) {
  memory_ledger::reset_peaks();
  const MemoryUse before = memory_ledger::use(MemoryKind::optimizer);
  {
    const Tensor a = Tensor::empty({256}, DType::f32, MemoryKind::optimizer);
    const Tensor shared = a;  // NOLINT(performance-unnecessary-copy-initialization) -- the point
    EXPECT_EQ(memory_ledger::use(MemoryKind::optimizer).live, before.live + 1024);
    EXPECT_FALSE(a.is_unique());
  }
  EXPECT_EQ(memory_ledger::use(MemoryKind::optimizer).live, before.live);
  EXPECT_EQ(memory_ledger::use(MemoryKind::optimizer).peak, before.live + 1024);
}

}  // namespace
}  // namespace trib
