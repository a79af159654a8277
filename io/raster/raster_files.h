// Which files make an image.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trib::io {

/// A file, with a class if a table says so.
struct ListedFile {
  std::string path;
  std::int32_t label = -1;
};

/// The files that `patterns` name, sorted by path, each once (see expand_files). A pattern that
/// ends in ".csv" is a table: its column "path" lists files, relative to the table's folder, and
/// "label", if there is one, their classes. Throws DataError for a pattern or table that names
/// nothing, and for a file with two labels.
std::vector<ListedFile> list_files(const std::vector<std::string>& patterns,
                                   const std::vector<std::string>& untouched = {});

/// A band of scenes whose bands are files of their own.
struct ScenePattern {
  std::string band;
  std::string pattern;  ///< "*_B02.jp2"; "R10m/*_B02_10m.jp2"
};

/// Read "B02=*_B02.jp2". Throws ConfigError.
std::vector<ScenePattern> parse_scene_patterns(const std::vector<std::string>& texts);

/// The files of one scene, one for each pattern.
struct SceneFiles {
  std::string name;  ///< what its files have in common, for messages
  std::vector<ListedFile> files;
};

/// Put files together to scenes, sorted by name. A pattern is compared with the end of a path, as
/// many folders as it has; files of one scene have the same text before that and the same where the
/// wildcards (*, ?) stand. Files that match no pattern are passed over. Throws DataError for a
/// scene that lacks a band or has it twice, ConfigError if a file matches two patterns or none
/// matches.
std::vector<SceneFiles> group_scenes(const std::vector<ListedFile>& files,
                                     const std::vector<ScenePattern>& patterns);

}  // namespace trib::io
