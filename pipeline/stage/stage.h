// The stage interfaces: what a node of a graph can be.
//
// A stage lives through construction (parameters read), prepare (headers opened, names and shapes
// checked, nothing read), and execution. prepare throws ConfigError or DataError; the engine adds
// node and place. Functions called during execution are const where they run in parallel.
//
// prepare speaks of all channels. Which of them are this rank's is known when the samples' way to
// the batch is prepared: keep() tells sources and transforms, StreamInfo::own_channels the rest.
// Samples have the own channels and targets alone, in the order of the edge's lists; on a source or
// transform that keep() is not called on, all are its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/parallel/sharding.h"
#include "pipeline/graph/parameter.h"
#include "pipeline/stage/flow.h"
#include "pipeline/stage/item_order.h"
#include "pipeline/stage/read_errors.h"
#include "pipeline/stage/stream_info.h"

namespace trib::ops {
class Communicator;
}

namespace trib::pipeline {

/// What a stage may know of the run it is part of.
struct StageContext {
  std::string node;
  const ParameterValues& parameters;
  std::uint64_t seed = 0;
  int data_ranks = 1;  ///< ranks that share the samples (axes data and shard)
  int data_rank = 0;
  int tensor_ranks = 1;  ///< ranks that share the channels of the same samples
  int tensor_rank = 0;
  model::Precision precision = model::Precision::fp32;

  /// Number of this rank among all; the tensor axis varies fastest.
  int world_rank() const { return data_rank * tensor_ranks + tensor_rank; }
};

class Stage {
 public:
  explicit Stage(const StageContext& context) : node_(context.node) {}
  virtual ~Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  const std::string& node() const { return node_; }

 private:
  std::string node_;
};

/// Affine maps of the values of each own channel and target; empty: as they are.
struct ValueMaps {
  std::vector<io::Affine> channels, targets;
};

/// Where a source leaves a sample, and what becomes of its values on the way.
struct ReadTarget {
  Tensor x_cyx, target_vyx;  ///< memory to use if it has the shape of the sample; may be undefined
  const ValueMaps* maps = nullptr;  ///< null: physical values

  std::span<const io::Affine> channel_maps() const {
    return maps == nullptr ? std::span<const io::Affine>{} : maps->channels;
  }
  std::span<const io::Affine> target_maps() const {
    return maps == nullptr ? std::span<const io::Affine>{} : maps->targets;
  }
};

/// `wanted` if it has that shape, else new memory for an image.
Tensor image_memory(const Tensor& wanted, const Shape& shape);

/// A source of images: a numbered list for each split.
class SourceStage : public Stage {
 public:
  using Stage::Stage;
  virtual StreamInfo prepare() = 0;
  /// Have prepare() pass over files that do not open in time, and list them in unreadable_files().
  /// Throws DataError if it cannot do without.
  virtual void leave_out(std::vector<UnreadableFile> lost);
  /// Read only these of the channels and targets from now on. Called once, after prepare. An image
  /// may have none of them: samples then have tensors [0, y, x].
  virtual void keep(const ChannelNames& own) = 0;
  virtual std::int64_t items(Split split) const = 0;
  virtual io::Extent extent(Split split, std::int64_t item) const = 0;
  virtual ItemOrder order() const { return ItemOrder::shuffled; }
  /// Items of one group lie in the same stored chunks (see io::ImageSource::group).
  virtual std::int64_t group(Split /*split*/, std::int64_t item) const { return item; }
  /// Whether this source keeps items for evaluation.
  virtual bool holds_out() const { return false; }
  /// What users should know of data that can be read nevertheless, one line each. Asked for after
  /// prepare.
  virtual std::vector<std::string> warnings() const { return {}; }
  /// Read one item; blocks. Thread-safe.
  virtual Sample read(Split split, const SampleRequest& request,
                      const ReadTarget& target) const = 0;
  /// What to call the item in messages. Asked for while a read of it hangs or has failed: must
  /// touch no file and take no lock that reads hold.
  virtual std::string describe(Split split, std::int64_t item) const = 0;
  /// What becomes of items that cannot be read.
  virtual ReadErrors read_errors() const { return {}; }
  /// What prepare() has left out.
  virtual std::vector<UnreadableFile> unreadable_files() const { return {}; }
  /// Bytes of files that read() has decoded so far, as io::ImageSource counts them; 0 for sources
  /// without files.
  virtual std::int64_t bytes_decoded() const { return 0; }
  /// Most bytes that caches of open files hold, as io::ImageSource says.
  virtual std::int64_t cache_bytes() const { return 0; }
  /// Let them hold no more than this from now on. Called before the first read, where all that is
  /// wished for does not fit into the budget of the ingest.
  virtual void limit_cache(std::int64_t /*bytes*/) {}
};

/// Delivers the first samples of the training split, up to the stage that asks, for a pass over
/// the data before the run. `visit` is called in parallel, once per sample index; this rank sees
/// its share of the indices.
using SampleFeed = std::function<void(
    std::int64_t count, const std::function<void(std::int64_t, const Sample&)>& visit)>;

/// A stage from sample to samples.
class TransformStage : public Stage {
 public:
  using Stage::Stage;
  virtual StreamInfo prepare(const StreamInfo& input) = 0;
  /// Samples come with, and leave with, only these of the channels and targets. Called once, after
  /// prepare. For stages that tell channels apart; a stage that makes channels out of others needs
  /// all of these on its rank, and says so here with a ConfigError.
  virtual void keep(const ChannelNames& /*own*/) {}
  virtual io::Extent output_extent(const io::Extent& input) const { return input; }
  /// Number of samples made of an image, 0 if this is not an expanding stage.
  virtual std::int64_t pieces(Split /*split*/, const io::Extent& /*input*/) const { return 0; }
  /// Whether this stage keeps a part of each image for evaluation.
  virtual bool holds_out() const { return false; }
  /// Whether samples leave in the memory they came in.
  virtual bool works_in_place() const { return false; }
  /// If all this stage does is to map the values of each channel: the maps. A source it follows
  /// applies them while it reads, and the stage is passed over. Asked once measure() is done.
  virtual std::optional<ValueMaps> value_maps() const { return std::nullopt; }
  /// Threads that may run apply at once, 0 for any number.
  virtual int concurrency() const { return 0; }
  /// Called once before the run: learn from the data (statistics). Collective over the ranks.
  virtual void measure(const SampleFeed& /*feed*/, ops::Communicator& /*communicator*/,
                       const std::string& /*run_folder*/) {}
  /// Make the requested pieces of a sample. A stage that does not expand gets one request.
  virtual void apply(Sample input, Split split, std::span<const SampleRequest> requests,
                     std::vector<Sample>& output) const = 0;
};

/// How samples are grouped; the engine does the grouping.
class BatchStage : public Stage {
 public:
  using Stage::Stage;
  virtual StreamInfo prepare(const std::vector<StreamInfo>& inputs) = 0;
  virtual std::int64_t batch_size() const = 0;      ///< over all data ranks
  virtual std::int64_t shuffle_window() const = 0;  ///< samples mixed with each other, 0: none
};

/// A stage that adds a layer to the model.
class ModelStage : public Stage {
 public:
  using Stage::Stage;
  /// Have a say in how the channels are divided over the ranks. Called before any prepare.
  virtual void divide(model::Division& /*division*/) const {}
  virtual StreamInfo prepare(const StreamInfo& input) = 0;
};

/// The end of an edge. There is a consume function for each kind of edge; calls are serial.
class SinkStage : public Stage {
 public:
  using Stage::Stage;
  virtual void prepare(const StreamInfo& input, const std::string& input_node) = 0;
  /// Called once before the first consume.
  virtual void start(const std::string& /*run_folder*/) {}
  virtual void consume_sample(const Sample& sample);
  virtual void consume_batch(const Batch& batch);
  virtual void consume_step(const model::Step& step, const Batch& batch);
  /// Whether this sink has seen all it wants; sources stop when every sink has.
  virtual bool satisfied() const { return false; }
  /// Called once after the last consume.
  virtual void finish() {}
};

/// Settings of a training loop, as the train stage declares them.
struct TrainingPlan {
  std::string node;
  std::int64_t steps = 0;
  double lr = 0, start_lr = 0, min_lr = 0;
  std::int64_t warmup_steps = 0;
  double beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  double clip_norm = 0;  ///< 0: no clipping
  model::ShardingOptions sharding;
  std::int64_t evaluate_every = 0;    ///< 0: never
  std::int64_t evaluate_samples = 0;  ///< over all data ranks
};

/// Marks the end of a model that is trained.
class TrainStage : public Stage {
 public:
  using Stage::Stage;
  /// Batches of a rank that make one update. Called before any prepare.
  virtual std::int64_t micro_batches() const { return 1; }
  virtual TrainingPlan prepare(const StreamInfo& input) = 0;
};

}  // namespace trib::pipeline
