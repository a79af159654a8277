# Language level, warnings, processor, sanitizers and ccache for every target of the project.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Kind of build" FORCE)
endif()

find_program(TRIB_CCACHE ccache)
if(TRIB_CCACHE)
  # What ccache wants to be told of precompiled headers, which tests use.
  set(launcher env CCACHE_SLOPPINESS=pch_defines,time_macros ${TRIB_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

add_library(tributary_compile_options INTERFACE)
target_compile_options(tributary_compile_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror
  -Wno-restrict)  # false alarms of GCC 12 on std::string (GCC bug 105651)

# Math functions never report through errno or floating-point traps here; NaN and infinity keep
# their meaning, because missing data is marked with NaN.
# Loops marked `#pragma omp simd` may be vectorised, sums in them reordered; no OpenMP threads.
add_compile_options(-fno-math-errno -fno-trapping-math -fopenmp-simd)
if(TRIB_NATIVE)
  add_compile_options(-march=native)
endif()
if(TRIB_SANITIZE)
  add_compile_options(-fsanitize=${TRIB_SANITIZE} -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${TRIB_SANITIZE})
  # With sanitizers GCC takes parts of the standard library for uninitialised (its manual says so).
  add_compile_options(-Wno-maybe-uninitialized)
  if(TRIB_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

# trib_add_room(NAME SOURCES... [PUBLIC libs] [PRIVATE libs]): one library a room.
function(trib_add_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(tributary_${name} STATIC ${ROOM_SOURCES})
  add_library(Tributary::${name} ALIAS tributary_${name})
  set_target_properties(tributary_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(tributary_${name} PUBLIC cxx_std_20)
  target_include_directories(tributary_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/tributary>)
  target_link_libraries(tributary_${name}
    PUBLIC ${ROOM_PUBLIC}
    PRIVATE ${ROOM_PRIVATE} $<BUILD_INTERFACE:tributary_compile_options>)
endfunction()
