#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

#include <cpl_vsi.h>
#include <fmt/format.h>
#include <fnmatch.h>

#include "io/image_source.h"
#include "io/opening_file.h"
#include "io/raster/gdal_dataset.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

bool is_file(const std::string& path) {
  VSIStatBufL status;
  return VSIStatExL(path.c_str(), &status, VSI_STAT_EXISTS_FLAG | VSI_STAT_NATURE_FLAG) == 0 &&
         !VSI_ISDIR(status.st_mode);
}

bool is_folder(const std::string& path) {
  VSIStatBufL status;
  return VSIStatExL(path.c_str(), &status, VSI_STAT_EXISTS_FLAG | VSI_STAT_NATURE_FLAG) == 0 &&
         VSI_ISDIR(status.st_mode);
}

/// A folder that is one raster to GDAL: Zarr, or a grid of Arc/Info.
bool is_raster_folder(const std::string& path) {
  if (!is_folder(path)) return false;
  constexpr std::array<const char*, 3> kMarks{".zgroup", ".zarray", "hdr.adf"};
  return std::ranges::any_of(kMarks, [&](const char* mark) { return is_file(path + "/" + mark); });
}

/// GDAL's way to name a part of a file: NETCDF:"file.nc":t2m.
bool is_subdataset(std::string_view pattern) {
  const std::size_t colon = pattern.find(':');
  return colon != std::string_view::npos && colon >= 2 &&
         std::all_of(pattern.begin(), pattern.begin() + static_cast<std::ptrdiff_t>(colon),
                     [](unsigned char c) {
                       return std::isupper(c) != 0 || std::isdigit(c) != 0 || c == '_';
                     });
}

/// "x{a,b{c,d}}" -> "xa", "xbc", "xbd". Braces without a comma stand for themselves.
void expand_braces(const std::string& pattern, std::vector<std::string>& expanded,
                   std::size_t search_from = 0) {
  const std::size_t open = pattern.find('{', search_from);
  if (open == std::string::npos) {
    expanded.push_back(pattern);
    return;
  }
  std::vector<std::size_t> cuts{open};  // the brace, the commas of its level, the closing brace
  int depth = 1;
  std::size_t i = open + 1;
  for (; i < pattern.size(); ++i) {
    if (pattern[i] == '{') ++depth;
    if (pattern[i] == ',' && depth == 1) cuts.push_back(i);
    if (pattern[i] == '}' && --depth == 0) break;
  }
  if (depth != 0 || cuts.size() == 1) {
    expand_braces(pattern, expanded, open + 1);
    return;
  }
  cuts.push_back(i);
  for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
    const std::string choice = pattern.substr(cuts[c] + 1, cuts[c + 1] - cuts[c] - 1);
    expand_braces(pattern.substr(0, open) + choice + pattern.substr(i + 1), expanded, open);
  }
}

struct Entry {
  std::string name;
  bool is_folder = false;
};

std::vector<Entry> list_folder(const std::string& folder) {
  static const char* const options[] = {"NAME_AND_TYPE_ONLY=YES", nullptr};
  std::vector<Entry> entries;
  VSIDIR* dir = VSIOpenDir(folder.empty() ? "." : folder.c_str(), 0, options);
  if (dir == nullptr) return entries;
  while (const VSIDIREntry* found = VSIGetNextDirEntry(dir)) {
    std::string name = found->pszName;
    while (name.ends_with('/')) name.pop_back();
    const bool known = found->bModeKnown && !S_ISLNK(found->nMode);
    entries.push_back({name, known ? VSI_ISDIR(found->nMode) : is_folder(folder + name)});
  }
  VSICloseDir(dir);
  return entries;
}

/// Add the files below `folder` ("" or ending in '/') that match `pattern`, one component at a
/// time.
void match_below(const std::string& folder, std::string_view pattern,
                 std::vector<std::string>& files) {
  const std::size_t wild = pattern.find_first_of("*?[");
  if (wild == std::string_view::npos) {
    if (is_file(folder + std::string(pattern))) files.push_back(folder + std::string(pattern));
    return;
  }
  // Components before the first wildcard are taken as they are.
  const std::size_t slash = pattern.rfind('/', wild);
  if (slash != std::string_view::npos) {
    match_below(folder + std::string(pattern.substr(0, slash + 1)), pattern.substr(slash + 1),
                files);
    return;
  }
  const std::size_t end = pattern.find('/');
  const std::string component(pattern.substr(0, end));
  const bool last = end == std::string_view::npos;
  const std::string_view rest = last ? std::string_view() : pattern.substr(end + 1);
  const bool any_depth = component == "**" && !last;
  if (any_depth) match_below(folder, rest, files);
  for (const Entry& entry : list_folder(folder)) {
    if (fnmatch(component.c_str(), entry.name.c_str(), FNM_PERIOD) != 0) continue;
    if (last && (!entry.is_folder || is_raster_folder(folder + entry.name))) {
      files.push_back(folder + entry.name);
    }
    if (!last && entry.is_folder) {
      match_below(folder + entry.name + "/", any_depth ? pattern : rest, files);
    }
  }
}

/// Why a pattern matches nothing, as far as its part without wildcards tells.
std::string explain(const std::string& pattern) {
  if (is_folder(pattern)) {
    return fmt::format(": it is a folder; name the files in it, such as '{}{}*.tif'", pattern,
                       pattern.ends_with('/') ? "" : "/");
  }
  const std::size_t slash = pattern.rfind('/', pattern.find_first_of("*?[{"));
  if (slash == std::string::npos || slash == 0) return "";
  const std::string folder = pattern.substr(0, slash);
  return is_folder(folder) ? "" : fmt::format(": there is no folder '{}'", folder);
}

}  // namespace

std::vector<std::string> expand_files(const std::vector<std::string>& patterns,
                                      const std::vector<std::string>& untouched) {
  const GdalErrors quiet;
  std::vector<std::string> files;
  for (const std::string& pattern : patterns) {
    if (pattern.find_first_of("*?[{") == std::string::npos &&
        std::ranges::find(untouched, pattern) != untouched.end()) {
      files.push_back(pattern);
      continue;
    }
    const OpeningFile opening(pattern);
    if (is_subdataset(pattern) || is_file(pattern) || is_raster_folder(pattern)) {
      files.push_back(pattern);
      continue;
    }
    const std::size_t before = files.size();
    std::vector<std::string> alternatives;
    expand_braces(pattern, alternatives);
    for (const std::string& alternative : alternatives) match_below("", alternative, files);
    if (files.size() == before) {
      throw DataError(fmt::format("'{}' matches no file{}", pattern, explain(pattern)));
    }
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

}  // namespace trib::io
