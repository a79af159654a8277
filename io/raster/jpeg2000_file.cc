#include "io/raster/jpeg2000_file.h"

#include <array>
#include <cstdint>
#include <memory>

#include <cpl_vsi.h>
#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::uint64_t kStartOfCodestream = 0xFF4F, kStartOfTilePart = 0xFF90;
constexpr std::uint64_t kEndOfCodestream = 0xFFD9;

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), file_(VSIFOpenL(path.c_str(), "rb")) {
    if (file_ == nullptr) return;  // GDAL has names that are no files
    VSIFSeekL(file_.get(), 0, SEEK_END);
    size_ = VSIFTellL(file_.get());
  }

  std::uint64_t size() const { return size_; }

  // A number of up to eight bytes, the high ones first.
  std::uint64_t number(std::uint64_t at, std::size_t bytes) const {
    std::array<unsigned char, 8> text{};
    expect(bytes <= size_ && at <= size_ - bytes, at, "the file ends");
    VSIFSeekL(file_.get(), at, SEEK_SET);
    expect(VSIFReadL(text.data(), 1, bytes, file_.get()) == bytes, at, "cannot be read");
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8U | text[i];
    return value;
  }

  void expect(bool is_so, std::uint64_t at, const char* else_what) const {
    if (is_so) return;
    throw DataError(
        fmt::format("{}: damaged or truncated: {} at byte {} of {}", path_, else_what, at, size_));
  }

 private:
  struct Close {
    void operator()(VSILFILE* file) const { VSIFCloseL(file); }
  };
  std::string path_;
  std::unique_ptr<VSILFILE, Close> file_;
  std::uint64_t size_ = 0;
};

// Segments of the main header, then tile parts up to the end of the codestream.
void check_codestream(const Reader& file, std::uint64_t begin, std::uint64_t end) {
  std::uint64_t at = begin + 2;
  while (file.number(at, 2) != kStartOfTilePart) {
    file.expect(file.number(at, 1) == 0xFF, at, "no marker");
    const std::uint64_t length = file.number(at + 2, 2);
    file.expect(length >= 2 && length <= end - at - 2, at, "a segment beyond the codestream");
    at += 2 + length;
  }
  for (;;) {
    const std::uint64_t marker = file.number(at, 2);
    if (marker == kEndOfCodestream) return;
    file.expect(marker == kStartOfTilePart, at, "no tile part");
    const std::uint64_t length = file.number(at + 6, 4);
    if (length == 0) return;  // all that is left
    file.expect(length >= 14 && length <= end - at, at, "a tile part beyond the codestream");
    at += length;
    if (at == end) return;  // without its last marker, as some writers leave it
  }
}

}  // namespace

void check_jpeg2000_file(const std::string& path) {
  const Reader file(path);
  if (file.size() == 0) return;
  if (file.number(0, 2) == kStartOfCodestream) return check_codestream(file, 0, file.size());
  constexpr std::uint64_t kCodestreamBox = 0x6A703263;  // jp2c
  std::uint64_t at = 0;
  while (at < file.size()) {
    std::uint64_t length = file.number(at, 4), header = 8;
    if (length == 1) {
      length = file.number(at + 8, 8);
      header = 16;
    }
    if (length == 0) length = file.size() - at;  // the last box
    file.expect(length >= header && length <= file.size() - at, at, "a box beyond the file");
    if (file.number(at + 4, 4) == kCodestreamBox) {
      check_codestream(file, at + header, at + length);
    }
    at += length;
  }
}

}  // namespace trib::io
