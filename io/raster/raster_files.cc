#include "io/raster/raster_files.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <regex>
#include <string_view>

#include <fmt/format.h>

#include "io/csv_table.h"
#include "io/image_source.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::vector<ListedFile> files_of_table(const std::string& path) {
  const CsvTable table(path);
  table.require("path");
  const bool is_labelled = table.has("label");
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::vector<ListedFile> files;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const std::string& name = table.text(row, "path");
    if (name.empty()) throw DataError(fmt::format("{}: the path is empty", table.place(row)));
    files.push_back({(folder / name).string(), is_labelled ? table.label(row, "label") : -1});
  }
  if (files.empty()) throw DataError(fmt::format("{}: lists no file", path));
  return files;
}

/// A wildcard pattern for the end of paths. Groups hold the text before it and at its wildcards.
std::regex to_regex(const std::string& pattern) {
  std::string text = "(.*/)?";
  for (const char c : pattern) {
    if (c == '*') {
      text += "([^/]*)";
    } else if (c == '?') {
      text += "([^/])";
    } else {
      if (std::string_view("\\^$.|()[]{}+").find(c) != std::string_view::npos) text += '\\';
      text += c;
    }
  }
  return std::regex(text, std::regex::ECMAScript | std::regex::optimize);
}

/// What is left of a path if that which makes the band is taken away; none if it does not match.
std::optional<std::string> scene_of(const std::string& path, const std::regex& pattern) {
  std::smatch match;
  if (!std::regex_match(path, match, pattern)) return {};
  std::string scene = match[1];
  for (std::size_t i = 2; i < match.size(); ++i) {
    if (i > 2) scene += '*';
    scene += match[i];
  }
  return scene;
}

}  // namespace

std::vector<ListedFile> list_files(const std::vector<std::string>& patterns,
                                   const std::vector<std::string>& untouched) {
  std::vector<ListedFile> files;
  std::vector<std::string> others;
  for (const std::string& pattern : patterns) {
    if (!pattern.ends_with(".csv")) {
      others.push_back(pattern);
      continue;
    }
    for (const std::string& table : expand_files({pattern})) {
      for (ListedFile& file : files_of_table(table)) files.push_back(std::move(file));
    }
  }
  for (std::string& path : expand_files(others, untouched)) {
    files.push_back({std::move(path), -1});
  }
  std::stable_sort(files.begin(), files.end(),
                   [](const ListedFile& a, const ListedFile& b) { return a.path < b.path; });
  std::vector<ListedFile> once;
  for (ListedFile& file : files) {
    if (once.empty() || once.back().path != file.path) {
      once.push_back(std::move(file));
      continue;
    }
    if (once.back().label < 0) once.back().label = file.label;
    if (file.label >= 0 && file.label != once.back().label) {
      throw DataError(fmt::format("{}: is listed with the labels {} and {}", file.path,
                                  once.back().label, file.label));
    }
  }
  return once;
}

std::vector<ScenePattern> parse_scene_patterns(const std::vector<std::string>& texts) {
  std::vector<ScenePattern> patterns;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) {
      throw ConfigError(fmt::format("bands: expected 'NAME=pattern', found '{}'", text));
    }
    patterns.push_back({text.substr(0, equals), text.substr(equals + 1)});
    for (std::size_t i = 0; i + 1 < patterns.size(); ++i) {
      if (patterns[i].band == patterns.back().band) {
        throw ConfigError(fmt::format("bands: '{}' is given twice", patterns[i].band));
      }
    }
  }
  return patterns;
}

std::vector<SceneFiles> group_scenes(const std::vector<ListedFile>& files,
                                     const std::vector<ScenePattern>& patterns) {
  std::vector<std::regex> regexes;
  for (const ScenePattern& one : patterns) regexes.push_back(to_regex(one.pattern));
  std::map<std::string, std::vector<ListedFile>> scenes;
  for (const ListedFile& file : files) {
    std::optional<std::size_t> band;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      const auto scene = scene_of(file.path, regexes[i]);
      if (!scene) continue;
      if (band) {
        throw ConfigError(fmt::format("bands: {} matches '{}' and '{}'", file.path,
                                      patterns[*band].pattern, patterns[i].pattern));
      }
      band = i;
      std::vector<ListedFile>& own = scenes[*scene];
      own.resize(patterns.size());
      if (!own[i].path.empty()) {
        throw DataError(fmt::format("scene '{}': band {} is in {} and in {}", *scene,
                                    patterns[i].band, own[i].path, file.path));
      }
      own[i] = file;
    }
  }
  if (scenes.empty()) {
    throw ConfigError(fmt::format("bands: none of {} files, such as {}, matches a pattern",
                                  files.size(), files.front().path));
  }
  std::vector<SceneFiles> grouped;
  for (auto& [name, own] : scenes) {
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      if (!own[i].path.empty()) continue;
      const auto elsewhere = std::find_if(scenes.begin(), scenes.end(), [&](const auto& scene) {
        const auto in_any_folder = [](const std::string& path) {
          return path.substr(path.rfind('/') + 1);
        };
        return in_any_folder(scene.first) == in_any_folder(name) && !scene.second.empty() &&
               !scene.second[i].path.empty();
      });
      throw DataError(fmt::format(
          "scene '{}': there is no file for band {} ('{}'){}", name, patterns[i].band,
          patterns[i].pattern,
          elsewhere == scenes.end()
              ? ""
              : fmt::format("; {} is taken for one of another scene: if a scene has several "
                            "folders, patterns need their names ('{}/{}')",
                            elsewhere->second[i].path,
                            std::filesystem::path(elsewhere->second[i].path)
                                .parent_path()
                                .filename()
                                .string(),
                            patterns[i].pattern)));
    }
    grouped.push_back({name, std::move(own)});
  }
  return grouped;
}

}  // namespace trib::io
