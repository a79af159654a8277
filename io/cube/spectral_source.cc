// Axes: c channel or band, y row, x column.
#include "io/cube/spectral_source.h"

#include <algorithm>
#include <limits>
#include <set>

#include "io/kept_channels.h"

namespace trib::io {
namespace {

// Of a channel's weight, what bands with values must hold for it to have one; a little less than a
// half, for weights are rounded.
constexpr float kLeastWeight = 0.4999F;

// The mean of bands over those of them that are not missing, scaled.
void mean_bands(const SpectralChannel& channel, const Affine& affine, const float* bands_cyx,
                std::int64_t pixels, float* weight_sums, float* out) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  std::fill_n(out, pixels, 0.0F);
  std::fill_n(weight_sums, pixels, 0.0F);
  for (std::size_t b = 0; b < channel.bands.size(); ++b) {
    const float* band = bands_cyx + channel.bands[b] * pixels;
    const float weight = channel.weights[b];
    for (std::int64_t i = 0; i < pixels; ++i) {
      const bool has_value = band[i] == band[i];
      out[i] += has_value ? weight * band[i] : 0.0F;
      weight_sums[i] += has_value ? weight : 0.0F;
    }
  }
  const auto scale = static_cast<float>(affine.scale);
  const auto offset = static_cast<float>(affine.offset);
  for (std::int64_t i = 0; i < pixels; ++i) {
    const float value = out[i] / weight_sums[i] * scale + offset;
    out[i] = weight_sums[i] >= kLeastWeight ? value : kNan;
  }
}

class SpectralSource final : public ImageSource {
 public:
  SpectralSource(std::unique_ptr<ImageSource> bands, std::vector<SpectralChannel> plan,
                 double factor)
      : bands_(std::move(bands)), plan_(std::move(plan)), factor_(factor) {
    settle();
  }

  const std::vector<Channel>& channels() const override { return channels_; }

  void keep_channels(std::span<const std::int64_t> channels) override {
    check_kept_channels(channels, plan_.size());
    plan_ = elements_at(channels, plan_);
    std::set<std::int64_t> needed;
    for (const SpectralChannel& c : plan_) needed.insert(c.bands.begin(), c.bands.end());
    const std::vector<std::int64_t> kept(needed.begin(), needed.end());
    bands_->keep_channels(kept);
    for (SpectralChannel& c : plan_) {
      for (std::int64_t& b : c.bands) b = std::ranges::lower_bound(kept, b) - kept.begin();
    }
    settle();
  }

  std::int64_t size() const override { return bands_->size(); }
  Extent extent(std::int64_t index) const override { return bands_->extent(index); }
  Provenance provenance(std::int64_t index) const override { return bands_->provenance(index); }
  std::int32_t label(std::int64_t index, const std::optional<Window>& window) const override {
    return bands_->label(index, window);
  }
  std::shared_ptr<const LatLonGrid> grid() const override { return bands_->grid(); }
  std::int64_t group(std::int64_t index) const override { return bands_->group(index); }
  std::int64_t bytes_decoded() const override { return bands_->bytes_decoded(); }
  std::int64_t cache_bytes() const override { return bands_->cache_bytes(); }
  void limit_cache(std::int64_t bytes) override { bands_->limit_cache(bytes); }

  Provenance read_into(std::int64_t index, const std::optional<Window>& window,
                       const PixelTarget& target) const override {
    if (plan_.empty()) return bands_->read_into(index, window, target);
    std::vector<Affine> affine(plan_.size());
    for (std::size_t c = 0; c < plan_.size(); ++c) {
      if (!target.affine.empty()) affine[c] = target.affine[c];
      affine[c].scale *= factor_;
    }
    if (in_place_) return bands_->read_into(index, window, {target.data_cyx, affine});

    const Window part = checked_window(index, window);
    const auto num_bands = static_cast<std::int64_t>(bands_->channels().size());
    const std::int64_t pixels = part.height * part.width;
    Tensor bands =
        Tensor::empty({num_bands, part.height, part.width}, DType::f32, MemoryKind::ingest);
    Provenance from = bands_->read_into(index, part, {bands.data<float>()});
    std::vector<float> weight_sums(static_cast<std::size_t>(pixels));
    for (std::size_t c = 0; c < plan_.size(); ++c) {
      mean_bands(plan_[c], affine[c], bands.data<float>(), pixels, weight_sums.data(),
                 target.data_cyx + static_cast<std::int64_t>(c) * pixels);
    }
    return from;
  }

 private:
  // What follows from the plan.
  void settle() {
    channels_.clear();
    in_place_ = plan_.size() == bands_->channels().size();
    for (std::size_t c = 0; c < plan_.size(); ++c) {
      channels_.push_back(plan_[c].channel);
      in_place_ = in_place_ && plan_[c].bands == std::vector{static_cast<std::int64_t>(c)};
    }
  }

  std::unique_ptr<ImageSource> bands_;
  std::vector<SpectralChannel> plan_;  // positions refer to the channels of bands_
  std::vector<Channel> channels_;
  double factor_;
  bool in_place_ = false;
};

}  // namespace

std::unique_ptr<ImageSource> mix_bands(std::unique_ptr<ImageSource> bands,
                                       std::vector<SpectralChannel> plan, double factor) {
  return std::make_unique<SpectralSource>(std::move(bands), std::move(plan), factor);
}

}  // namespace trib::io
