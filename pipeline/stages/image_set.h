// What all stages that read sets of images have in common.
#pragma once

#include <memory>
#include <vector>

#include "io/image_source.h"
#include "pipeline/stage/stage.h"

namespace trib::pipeline {

/// Declaration of `order`, and what it says.
ParameterSpec item_order_parameter();
ItemOrder item_order(const ParameterValues& parameters);

/// Declarations of `holdout`, `order` and what to do about damaged images.
std::vector<ParameterSpec> image_set_parameters();

/// A source stage over an io::ImageSource: items are its images. A fraction `holdout` of the
/// images, drawn by the seed, is kept for evaluation.
class ImageSetStage : public SourceStage {
 public:
  explicit ImageSetStage(const StageContext& context);

  StreamInfo prepare() override;
  void keep(const ChannelNames& own) override;
  std::int64_t items(Split split) const override;
  io::Extent extent(Split split, std::int64_t item) const override;
  ItemOrder order() const override { return order_; }
  std::int64_t group(Split split, std::int64_t item) const override {
    return source_->group(image_of(split, item));
  }
  bool holds_out() const override { return holdout_ > 0; }
  ReadErrors read_errors() const override { return read_errors_; }
  std::vector<UnreadableFile> unreadable_files() const override { return unreadable_; }
  std::int64_t bytes_decoded() const override { return source_->bytes_decoded(); }
  std::int64_t cache_bytes() const override { return source_->cache_bytes(); }
  void limit_cache(std::int64_t bytes) override { source_->limit_cache(bytes); }
  Sample read(Split split, const SampleRequest& request, const ReadTarget& target) const override;
  std::string describe(Split split, std::int64_t item) const override;

 protected:
  /// Files or patterns, as the graph gives them.
  virtual const std::vector<std::string>& files() const = 0;
  virtual std::unique_ptr<io::ImageSource> open(const std::vector<std::string>& files) const = 0;

 private:
  std::int64_t image_of(Split split, std::int64_t item) const;

  std::uint64_t seed_;
  double holdout_;
  ItemOrder order_;
  ReadErrors read_errors_;
  std::vector<UnreadableFile> unreadable_;
  std::unique_ptr<io::ImageSource> source_;
  std::vector<std::int64_t> train_, eval_;
};

}  // namespace trib::pipeline
