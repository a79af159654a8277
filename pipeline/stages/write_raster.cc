#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "io/kept_channels.h"
#include "io/raster/raster_writer.h"
#include "model/model.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/physical_values.h"

namespace trib::pipeline {
namespace {

using Storage = io::RasterStorage;

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "write.raster";
  d.summary = "Write images, or what a model reconstructs of them, to georeferenced raster files.";
  d.parameters = {
      param::string(
          "path",
          "Name of the files, with {file} for the name of the file an image is from, "
          "{index} for its place in the stream, {y} and {x} for those of its window; "
          "below the run folder if relative. Left empty: rasters/NODE/{file}_{y}_{x}.tif, "
          "with 'mosaic' rasters/NODE/{file}.tif.")
          .or_else(""),
      param::choice("format", {"gtiff", "cog"},
                    "GeoTIFF, or cloud-optimised GeoTIFF with overviews.")
          .or_else("gtiff"),
      param::choice("compress", {"deflate", "zstd", "none"}, "How the files are compressed.")
          .or_else("deflate"),
      param::boolean("predictor", "Store differences of neighbours, which compress better.")
          .or_else(true),
      param::choice("dtype", {"float32", "int16", "uint16"}, "Type of the stored values.")
          .or_else("float32"),
      param::number("scale", "Of int16 and uint16: value = stored * scale + offset.").or_else(1.0),
      param::number("offset", "Of int16 and uint16: value = stored * scale + offset.").or_else(0.0),
      param::number("nodata",
                    "Stored value of missing pixels; NaN, -32768 or 65535 by dtype if left out."),
      param::boolean("mosaic",
                     "Put the windows of a file together in one raster, written at the end.")
          .or_else(false),
      param::integer("count", "Images to write; 0: all.").at_least(0).or_else(0),
  };
  return d;
}

Storage storage_of(const ParameterValues& p) {
  Storage storage;
  storage.format = p.string("format") == "cog" ? Storage::Format::cog : Storage::Format::gtiff;
  const std::string& compress = p.string("compress");
  storage.compression = compress == "none"   ? Storage::Compression::none
                        : compress == "zstd" ? Storage::Compression::zstd
                                             : Storage::Compression::deflate;
  storage.predictor = p.boolean("predictor");
  const std::string& dtype = p.string("dtype");
  storage.dtype = dtype == "int16" ? DType::i16 : dtype == "uint16" ? DType::u16 : DType::f32;
  storage.scale = p.number("scale");
  storage.offset = p.number("offset");
  if (p.has("nodata")) storage.nodata = p.number("nodata");
  storage.check();
  return storage;
}

/// A pattern with the places in braces filled in.
std::string fill_in(const std::string& pattern,
                    const std::function<std::string(std::string_view)>& value) {
  std::string filled;
  std::size_t at = 0;
  while (at < pattern.size()) {
    const std::size_t open = pattern.find('{', at);
    filled += pattern.substr(at, open - at);
    if (open == std::string::npos) break;
    const std::size_t close = pattern.find('}', open);
    if (close == std::string::npos) {
      throw ConfigError(fmt::format("path '{}': '{{' without '}}'", pattern));
    }
    filled += value(std::string_view(pattern).substr(open + 1, close - open - 1));
    at = close + 1;
  }
  return filled;
}

class WriteRaster : public SinkStage {
 public:
  explicit WriteRaster(const StageContext& context)
      : SinkStage(context),
        pattern_(context.parameters.string("path")),
        storage_(storage_of(context.parameters)),
        mosaic_(context.parameters.boolean("mosaic")),
        wanted_(context.parameters.integer("count")),
        suffix_(suffix_of(context)) {
    if (pattern_.empty()) {
      pattern_ = "rasters/" + context.node + (mosaic_ ? "/{file}.tif" : "/{file}_{y}_{x}.tif");
    }
    fill_in(pattern_, [&](std::string_view name) -> std::string {
      const bool tells_images_apart = name == "index" || name == "y" || name == "x";
      if (name != "file" && !tells_images_apart) {
        throw ConfigError(fmt::format(
            "path '{}': {{{}}} is none of {{file}}, {{index}}, {{y}} and {{x}}", pattern_, name));
      }
      if (mosaic_ && tells_images_apart) {
        throw ConfigError(
            fmt::format("path '{}': a mosaic is made of many images, so there is no "
                        "{{{}}}",
                        pattern_, name));
      }
      return "";
    });
  }

  void prepare(const StreamInfo& input, const std::string& input_node) override {
    if (input.kind == StreamKind::steps) {
      if (input.model == nullptr || !input.model->reconstructs()) {
        throw ConfigError(fmt::format(
            "takes samples, batches, or the images that a masked autoencoder without norm_pix "
            "reconstructs, and '{}' makes none; write.tensors takes anything",
            input_node));
      }
      model_ = input.model;
    }
    channels_ = io::elements_at(input.own_channels, input.channels);
    physical_ = PhysicalValues(input.statistics, channels_);
  }

  void start(const std::string& run_folder) override {
    if (std::filesystem::path(pattern_).is_relative()) prefix_ = run_folder + "/";
  }

  void consume_sample(const Sample& sample) override {
    const Tensor pixels = sample.x_cyx.contiguous(MemoryKind::ingest);
    write(pixels, sample.provenance, sample.request);
  }

  void consume_batch(const Batch& batch) override {
    for (std::size_t b = 0; b < batch.requests.size() && !satisfied(); ++b) {
      write(batch.x_bchw.select(0, static_cast<std::int64_t>(b)), batch.provenance[b],
            batch.requests[b]);
    }
  }

  void consume_step(const model::Step& step, const Batch& batch) override {
    const Shape& shape = batch.x_bchw.shape();
    Tensor images_bchw = Tensor::empty(shape, DType::f32, MemoryKind::ingest);
    model_->write_reconstruction(step, images_bchw.data<float>());
    for (std::size_t b = 0; b < batch.requests.size() && !satisfied(); ++b) {
      write(images_bchw.select(0, static_cast<std::int64_t>(b)), batch.provenance[b],
            batch.requests[b]);
    }
  }

  bool satisfied() const override { return wanted_ > 0 && written_ >= wanted_; }

  void finish() override {
    for (auto& [path, mosaic] : mosaics_) mosaic->finish();
    mosaics_.clear();
  }

 private:
  /// Ranks that share the data have other samples: their names tell, unless they are put together
  /// in rasters. Ranks that share the channels have the same.
  static std::string suffix_of(const StageContext& context) {
    const int rank = context.world_rank();
    const bool shares_names =
        context.parameters.boolean("mosaic") ? rank > 0 : context.tensor_rank > 0;
    return shares_names ? fmt::format(".rank{}", rank) : "";
  }

  void write(const Tensor& x_cyx, const io::Provenance& from, const SampleRequest& request) {
    if (satisfied() || channels_.empty()) return;
    const std::string path = path_of(from, request);
    check_unique(path, from);
    const io::Extent extent{x_cyx.dim(1), x_cyx.dim(2)};
    const float* values = physical_.of(x_cyx.data<float>(), extent.height * extent.width);
    if (mosaic_) {
      if (from.window.height != extent.height || from.window.width != extent.width) {
        throw DataError(fmt::format(
            "{}: a window of {} x {} pixels was made {} x {}, which fits into no mosaic", from.file,
            from.window.height, from.window.width, extent.height, extent.width));
      }
      auto& mosaic = mosaics_[path];
      if (!mosaic) {
        mosaic = std::make_unique<io::RasterMosaic>(path, storage_, channels_, from.geo);
      }
      mosaic->add(from.window, values);
    } else if (from.geo) {
      const io::GeoReference geo = io::georeference_of(*from.geo, from.window, extent);
      io::write_raster(path, storage_, channels_, extent, values, &geo);
    } else {
      io::write_raster(path, storage_, channels_, extent, values, nullptr);
    }
    ++written_;
  }

  std::string path_of(const io::Provenance& from, const SampleRequest& request) const {
    const std::string filled = fill_in(pattern_, [&](std::string_view name) {
      if (name == "index") return fmt::format("{:08}", request.position);
      if (name == "y") return fmt::format("{}", from.window.y);
      if (name == "x") return fmt::format("{}", from.window.x);
      return std::filesystem::path(from.file).stem().string();
    });
    if (suffix_.empty()) return prefix_ + filled;
    const std::filesystem::path path(filled);
    return prefix_ +
           (path.parent_path() / (path.stem().string() + suffix_ + path.extension().string()))
               .string();
  }

  /// The same image may come again in another epoch; another one must not take its place.
  void check_unique(const std::string& path, const io::Provenance& from) {
    const std::hash<std::string> hash;
    const io::Window& w = from.window;
    const std::string image =
        mosaic_ ? from.file : fmt::format("{} {} {} {} {}", from.file, w.y, w.x, w.height, w.width);
    const auto [known, is_new] = images_.emplace(hash(path), hash(image));
    if (!is_new && known->second != hash(image)) {
      throw ConfigError(fmt::format(
          "{}: two images would be written under this name, the second from {}; put more of "
          "{{file}}, {{index}}, {{y}} and {{x}} into path '{}'",
          path, from.file, pattern_));
    }
  }

  std::string pattern_;
  Storage storage_;
  bool mosaic_;
  std::int64_t wanted_;
  std::string suffix_;  // of file names, before the extension
  std::string prefix_;
  std::vector<io::Channel> channels_;
  PhysicalValues physical_;
  std::shared_ptr<const model::Model> model_;                         // of the steps, else null
  std::map<std::string, std::unique_ptr<io::RasterMosaic>> mosaics_;  // by path
  std::unordered_map<std::size_t, std::size_t> images_;               // hashes of path and image
  std::int64_t written_ = 0;
};

}  // namespace

void register_write_raster(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<WriteRaster>(context); });
}

}  // namespace trib::pipeline
