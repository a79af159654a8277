// Ingest as the ranks of a tensor axis see it, one after another in one process.
#pragma once

#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "pipeline/engine/engine.h"
#include "pipeline/stages/builtin.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {

/// What a rank's graph delivers at its sink `end`.
struct RankView {
  struct Piece {
    std::vector<std::uint64_t> positions;
    std::vector<io::Provenance> provenance;
    Tensor x_bchw, target_bvhw;  ///< of one sample: without the first axis
  };
  StreamInfo info;
  std::vector<Piece> pieces;
  IngestLimits limits;
};

/// A sink that keeps what arrives.
class KeepAll : public SinkStage {
 public:
  KeepAll(const StageContext& context, RankView& view) : SinkStage(context), view_(view) {}
  void prepare(const StreamInfo& input, const std::string& /*input_node*/) override {
    view_.info = input;
  }
  void consume_sample(const Sample& sample) override {
    view_.pieces.push_back({{sample.request.position},
                            {sample.provenance},
                            sample.x_cyx.clone(),
                            copy_of(sample.target_vyx)});
  }
  void consume_batch(const Batch& batch) override {
    RankView::Piece piece{{}, batch.provenance, batch.x_bchw.clone(), copy_of(batch.target_bvhw)};
    for (const SampleRequest& request : batch.requests) piece.positions.push_back(request.position);
    view_.pieces.push_back(std::move(piece));
  }

 private:
  static Tensor copy_of(const Tensor& tensor) { return tensor.defined() ? tensor.clone() : tensor; }
  RankView& view_;
};

/// A graph that rank after rank is planned and run on. Its sinks `test.keep` fill the view.
class SliceRun {
 public:
  explicit SliceRun(const std::string& nodes) {
    register_builtin_stages(registry_);
    StageDeclaration keep;
    keep.type = "test.keep";
    keep.summary = "Keep what arrives.";
    registry_.add(keep, [this](const StageContext& context) {
      return std::make_unique<KeepAll>(context, view_);
    });
    const std::string path = folder_.file("graph.yaml");
    std::ofstream(path) << "name: test\nseed: 5\nnodes:\n" << nodes;
    path_ = path;
  }

  Registry& registry() { return registry_; }
  const test::TempDir& folder() const { return folder_; }

  std::unique_ptr<Plan> plan(int tensor_ranks, int tensor_rank, int data_ranks = 1,
                             int data_rank = 0) {
    graph_.emplace(load_graph(path_, {}, registry_));
    PlanOptions options;
    options.seed = graph_->seed();
    options.mesh = {.data = data_ranks, .tensor = tensor_ranks};
    options.place = {.data = data_rank, .tensor = tensor_rank};
    return std::make_unique<Plan>(*graph_, registry_, options);
  }

  /// Run the graph as one rank; with a communicator, after the pass that measures.
  RankView run(int tensor_ranks, int tensor_rank, ops::Communicator* communicator = nullptr,
               int data_ranks = 1, int data_rank = 0) {
    view_ = {};
    const auto plan = this->plan(tensor_ranks, tensor_rank, data_ranks, data_rank);
    Threads threads(1, 2);
    Ingest ingest(*plan, threads);
    if (communicator != nullptr) ingest.measure(*communicator, folder_.path());
    for (const PlannedNode& node : plan->nodes()) {
      if (node.sink != nullptr) node.sink->start(folder_.path());
    }
    Engine(*plan, threads, ingest, {}).run();
    view_.limits = plan->ingest();
    return std::move(view_);
  }

 private:
  Registry registry_;
  test::TempDir folder_;
  std::string path_;
  std::optional<GraphDefinition> graph_;
  RankView view_;
};

/// Expect channel i of `part` to have the bits of channel own[i] of `whole`. Channels are the last
/// axis but two.
inline void expect_channels_of(const Tensor& whole, const Tensor& part,
                               const std::vector<std::int64_t>& own) {
  const int axis = whole.rank() - 3;
  ASSERT_EQ(part.rank(), whole.rank());
  ASSERT_EQ(part.dim(axis), std::ssize(own));
  for (std::size_t i = 0; i < own.size(); ++i) {
    const Tensor found = part.select(axis, static_cast<std::int64_t>(i)).contiguous();
    const Tensor expected = whole.select(axis, own[i]).contiguous();
    ASSERT_EQ(found.shape(), expected.shape());
    EXPECT_EQ(std::memcmp(found.bytes(), expected.bytes(), expected.nbytes()), 0)
        << "channel " << own[i];
  }
}

/// Expect a rank to have its own channels of what one rank alone has, and the same samples.
inline void expect_slice_of(const RankView& whole, const RankView& part) {
  EXPECT_EQ(part.info.channel_names(), whole.info.channel_names());
  EXPECT_EQ(part.info.target_names(), whole.info.target_names());
  ASSERT_EQ(part.pieces.size(), whole.pieces.size());
  ASSERT_FALSE(whole.pieces.empty());
  for (std::size_t p = 0; p < whole.pieces.size(); ++p) {
    EXPECT_EQ(part.pieces[p].positions, whole.pieces[p].positions);
    for (std::size_t b = 0; b < whole.pieces[p].provenance.size(); ++b) {
      const io::Provenance& a = part.pieces[p].provenance[b];
      const io::Provenance& expected = whole.pieces[p].provenance[b];
      EXPECT_EQ(a.file, expected.file);
      EXPECT_EQ(a.window, expected.window);
      EXPECT_TRUE(a.time == expected.time || (std::isnan(a.time) && std::isnan(expected.time)));
    }
    expect_channels_of(whole.pieces[p].x_bchw, part.pieces[p].x_bchw, part.info.own_channels);
    ASSERT_EQ(part.pieces[p].target_bvhw.defined(), whole.pieces[p].target_bvhw.defined());
    if (!whole.pieces[p].target_bvhw.defined()) continue;
    expect_channels_of(whole.pieces[p].target_bvhw, part.pieces[p].target_bvhw,
                       part.info.own_targets);
  }
}

/// Run a graph on each of so many tensor ranks: together they have each channel and target of what
/// one rank has, each once. Returns the ranks' views.
inline std::vector<RankView> expect_ranks_make_the_whole(SliceRun& graph, int tensor_ranks) {
  const RankView whole = graph.run(1, 0);
  std::vector<RankView> views;
  std::vector<int> owners(whole.info.channels.size()), target_owners(whole.info.targets.size());
  std::int64_t sample_bytes = 0;
  for (int rank = 0; rank < tensor_ranks; ++rank) {
    views.push_back(graph.run(tensor_ranks, rank));
    const RankView& part = views.back();
    expect_slice_of(whole, part);
    for (const std::int64_t c : part.info.own_channels) ++owners[static_cast<std::size_t>(c)];
    for (const std::int64_t v : part.info.own_targets) ++target_owners[static_cast<std::size_t>(v)];
    sample_bytes += part.limits.sample_bytes;
  }
  EXPECT_EQ(owners, std::vector<int>(owners.size(), 1));
  EXPECT_EQ(target_owners, std::vector<int>(target_owners.size(), 1));
  EXPECT_EQ(sample_bytes, whole.limits.sample_bytes);
  return views;
}

}  // namespace trib::pipeline
