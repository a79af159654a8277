#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include <cpl_string.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gdal_priv.h>
#include <unistd.h>

#include "io/chunks/stored_file.h"
#include "io/pending_file.h"
#include "io/raster/pending_raster.h"
#include "io/raster/raster_writer.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::int64_t pixels_of(const Window& window) {
  return window.height * window.width;
}

/// The smallest rectangle around all windows.
Window around(const std::vector<Window>& windows) {
  Window all = windows.front();
  for (const Window& w : windows) {
    const std::int64_t end_y = std::max(all.y + all.height, w.y + w.height);
    const std::int64_t end_x = std::max(all.x + all.width, w.x + w.width);
    all.y = std::min(all.y, w.y);
    all.x = std::min(all.x, w.x);
    all.height = end_y - all.y;
    all.width = end_x - all.x;
  }
  return all;
}

}  // namespace

/// The pixels of windows one after the other in a file without a name.
struct RasterMosaic::Spool {
  explicit Spool(const std::string& path) : name(temporary_name(path) + ".windows") {
    descriptor = ::open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0) fail("created");
    ::unlink(name.c_str());
  }
  ~Spool() { ::close(descriptor); }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  void append(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail("written");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  [[noreturn]] void fail(const char* step) const {
    throw RuntimeError(fmt::format("{}: cannot be {}: {}", name, step, std::strerror(errno)));
  }

  std::string name;
  int descriptor;
};

RasterMosaic::RasterMosaic(const std::string& path, const RasterStorage& storage,
                           std::vector<Channel> channels, std::shared_ptr<const GeoReference> geo)
    : path_(path), storage_(storage), channels_(std::move(channels)), geo_(std::move(geo)) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) throw RuntimeError(fmt::format("{}: {}", folder.string(), error.message()));
  spool_ = std::make_unique<Spool>(path);
}

RasterMosaic::~RasterMosaic() = default;

void RasterMosaic::add(const Window& window, const float* data_cyx) {
  const std::span values(data_cyx, channels_.size() * static_cast<std::size_t>(pixels_of(window)));
  spool_->append(std::as_bytes(values));
  windows_.push_back(window);
}

void RasterMosaic::finish() {
  if (windows_.empty()) return;
  const Window all = around(windows_);
  PendingRaster raster(path_, storage_);
  // Put together where tiles can be written more than once; compressed when they are whole.
  const std::string draft = temporary_name(path_) + ".draft";
  struct Remove {
    const std::string& name;
    ~Remove() {
      std::error_code ignored;
      std::filesystem::remove(name, ignored);
    }
  } const remove{draft};
  CPLStringList options;
  options.SetNameValue("TILED", "YES");
  options.SetNameValue("SPARSE_OK", "TRUE");
  options.SetNameValue("BIGTIFF", "IF_SAFER");
  const auto dataset = raster.create("GTiff", draft, {all.height, all.width},
                                     static_cast<int>(channels_.size()), options.List());
  GeoReference place;
  if (geo_) place = georeference_of(*geo_, all, {all.height, all.width});
  raster.describe(*dataset, channels_, geo_ ? &place : nullptr);
  std::vector<float> pixels;
  std::uint64_t at = 0;
  for (const Window& w : windows_) {
    pixels.resize(channels_.size() * static_cast<std::size_t>(pixels_of(w)));
    const std::span<std::byte> bytes = std::as_writable_bytes(std::span(pixels));
    if (!read_at(spool_->descriptor, at, bytes)) spool_->fail("read");
    at += bytes.size();
    raster.fill(*dataset, {w.y - all.y, w.x - all.x, w.height, w.width}, pixels.data());
  }
  raster.copy(*dataset);
  raster.commit();
}

}  // namespace trib::io
