// Which windows of which images are samples.
//
// A function of the images' extents and labels, of the seed and of the request alone: no pixel is
// looked at, so every rank finds the same. Items are windows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/image_source.h"
#include "ops/base/random.h"
#include "pipeline/stage/flow.h"

namespace trib::pipeline {

enum class Sampling : std::uint8_t {
  whole,   ///< images as they are
  grid,    ///< all places of a grid that starts in the upper left corner
  random,  ///< some places an image and epoch
  listed,  ///< windows given one by one
};

/// What sampling has to know of an image.
struct SampledImage {
  io::Extent extent;
  std::int32_t label = -1;  ///< class, -1 if it has none
};

/// A window given by hand. A label of its own goes before that of the image.
struct ListedWindow {
  std::int64_t image = 0;
  io::Window window;
  std::int32_t label = -1;
};

struct WindowSamplingOptions {
  Sampling sampling = Sampling::whole;
  io::Extent size;             ///< of a window, of grid and random
  io::Extent stride;           ///< from one window of the grid to the next
  std::int64_t per_image = 1;  ///< random windows of an image in an epoch

  /// Draw each random window in a neighbourhood of its own, of 8 x 8 window sizes, each of which
  /// has as many windows. Where an image has no two windows for each, they are drawn anywhere.
  bool by_neighbourhood = false;

  /// Fraction kept for evaluation: of the images, drawn by the seed, or of the area of each image,
  /// a strip at its right or lower end, whichever side is longer. Windows do not cross its border.
  double holdout = 0;
  bool holdout_by_area = false;

  /// Meet labels equally often: each epoch is made of as many windows of each class, those of rare
  /// classes repeated, those of frequent ones in turns over the epochs.
  bool stratify = false;
  /// Classes of labels that lie inside of the images and change from place to place (random
  /// windows only): each window has one it should be of (see Place::wanted_class). Empty: windows
  /// have the label of their image.
  std::vector<std::int32_t> classes;
};

class WindowSampling {
 public:
  /// Where a sample lies.
  struct Place {
    std::int64_t image = 0;
    std::optional<io::Window> window;  ///< none: the whole image
    std::int32_t label = -1;           ///< of the listed window or of the image
    /// Class that the label of the window should be, if `classes` were given.
    std::optional<std::int32_t> wanted_class;
  };

  /// `listed` is for Sampling::listed alone. Throws ConfigError if no window is left for a split,
  /// or the options do not fit each other or the images.
  WindowSampling(const WindowSamplingOptions& options, std::vector<SampledImage> images,
                 std::vector<ListedWindow> listed, std::uint64_t seed, const std::string& node);

  std::int64_t items(Split split) const;
  /// Size of an item's window.
  io::Extent extent(Split split, std::int64_t item) const;
  /// Whether the windows of all items have one size.
  bool extents_agree() const { return extents_agree_; }

  /// Most places a sample can be at: those after the first stand in for ones that do not please.
  std::uint64_t draws() const;
  /// Place number `draw` of a sample.
  Place place(Split split, const SampleRequest& request, std::uint64_t draw = 0) const;
  /// The part of the image an item's window lies in, the same in all epochs; windows of one part
  /// are near each other. 0 where that is not known, or for all of the image.
  std::int64_t neighbourhood(Split split, std::int64_t item) const;
  /// The image of an item and the window, where neither depends on the epoch.
  std::optional<Place> fixed_place(Split split, std::int64_t item) const;

 private:
  // Windows before stratification, numbered from 0.
  struct Part {
    std::vector<std::int64_t> images;  // or numbers of listed windows
    std::vector<std::int64_t> first;   // grid: number of the first window of each, and all
    std::vector<std::vector<std::int64_t>> by_class;  // stratified: numbers of windows, permuted
    std::int64_t per_class = 0;
    std::int64_t count = 0;
  };

  void split_images();
  void count_windows(Split split, Part& part);
  void sort_by_class(Part& part, const RandomStream& random) const;
  void check_extents();

  const Part& part(Split split) const { return parts_[split == Split::train ? 0 : 1]; }
  /// The part of an image that belongs to a split.
  io::Window region(Split split, const io::Extent& extent) const;
  io::Extent grid(const io::Window& region) const;
  /// Neighbourhoods along y and x that the corners of random windows are drawn in.
  io::Extent neighbourhoods(const io::Window& region) const;
  /// The image of window number `number`; its place too unless that is random.
  Place at(Split split, std::int64_t number) const;
  std::int64_t number_of(Split split, std::int64_t item, std::int64_t epoch) const;

  WindowSamplingOptions options_;
  std::vector<SampledImage> images_;
  std::vector<ListedWindow> listed_;
  RandomStream random_;
  std::uint64_t seed_;
  std::string node_;
  Part parts_[2];
  bool extents_agree_ = true;
};

}  // namespace trib::pipeline
