// Where the real files are that tests read.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include <gtest/gtest.h>

namespace trib::test {

/// Folder of real files: $TRIB_TEST_DATA, else the build's default.
inline std::string data_dir() {
  const char* dir = std::getenv("TRIB_TEST_DATA");
  return dir != nullptr ? dir : TRIB_DEFAULT_TEST_DATA;
}

inline std::string data_file(const std::string& name) {
  return data_dir() + "/" + name;
}

}  // namespace trib::test

/// Skip the running test, loudly, if a real file is not there.
#define TRIB_NEEDS_DATA(name)                                                  \
  if (!std::filesystem::exists(trib::test::data_file(name))) {                 \
    std::cerr << "\n*** REAL DATA ABSENT: " << trib::test::data_file(name)     \
              << " (set TRIB_TEST_DATA); this test proves nothing here ***\n"; \
    GTEST_SKIP() << "real data absent: " << trib::test::data_file(name);       \
  }
