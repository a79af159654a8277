// What all stages that read sets of images have in common.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/image_source.h"
#include "pipeline/stage/stage.h"
#include "pipeline/stages/open_readable.h"
#include "pipeline/stages/window_sampling.h"

namespace trib::pipeline {

/// Declaration of `order`, and what it says.
ParameterSpec item_order_parameter();
ItemOrder item_order(const ParameterValues& parameters);

/// Declarations of `sampling` and all that goes with it, `holdout`, `holdout_by`, `order` and what
/// to do about damaged images.
std::vector<ParameterSpec> image_set_parameters();

/// A source stage over an io::ImageSource. Items are its images, or windows of them (see
/// WindowSampling); only the pixels of a window are read.
class ImageSetStage : public SourceStage {
 public:
  explicit ImageSetStage(const StageContext& context);

  StreamInfo prepare() override;
  void keep(const ChannelNames& own) override;
  std::int64_t items(Split split) const override { return sampling_->items(split); }
  io::Extent extent(Split split, std::int64_t item) const override {
    return sampling_->extent(split, item);
  }
  ItemOrder order() const override { return order_; }
  std::int64_t group(Split split, std::int64_t item) const override;
  bool holds_out() const override { return options_.holdout > 0; }
  ReadErrors read_errors() const override { return read_errors_; }
  void leave_out(std::vector<UnreadableFile> lost) override { lost_ = std::move(lost); }
  std::vector<UnreadableFile> unreadable_files() const override { return unreadable_; }
  std::int64_t bytes_decoded() const override;
  std::int64_t cache_bytes() const override;
  void limit_cache(std::int64_t bytes) override;
  Sample read(Split split, const SampleRequest& request, const ReadTarget& target) const override;
  std::string describe(Split split, std::int64_t item) const override;

 protected:
  /// The files of each image. Those that are `lost` are not touched.
  virtual std::vector<FileGroup> groups(const std::vector<std::string>& lost) const = 0;
  /// All images but those of some files.
  virtual std::unique_ptr<io::ImageSource> open(const std::vector<std::string>& without) const = 0;
  virtual std::unique_ptr<io::ImageSource> open_alone(const FileGroup& group) const = 0;

 private:
  void read_sampling(const ParameterValues& parameters);
  std::vector<ListedWindow> listed_windows() const;

  Sample read_place(const WindowSampling::Place& place, const ReadTarget& target) const;
  /// The sample at the first place that pleases, none if none does.
  std::optional<Sample> first_pleasing(Split split, const SampleRequest& request,
                                       const ReadTarget& target, bool by_class) const;
  double valid_fraction(const WindowSampling::Place& place, const Sample& sample) const;

  std::uint64_t seed_;
  WindowSamplingOptions options_;
  std::vector<std::string> windows_, points_;
  double min_valid_;
  ItemOrder order_;
  ReadErrors read_errors_;
  std::vector<UnreadableFile> lost_;
  std::vector<std::string> without_;  // files that are not in the source
  std::vector<UnreadableFile> unreadable_;
  std::unique_ptr<io::ImageSource> source_;
  std::unique_ptr<io::ImageSource> judge_;  // of the first channel, where this rank has another
  std::optional<WindowSampling> sampling_;
};

}  // namespace trib::pipeline
