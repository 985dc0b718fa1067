# Every library comes from Debian 12; docs/decisions/ says why each one is here.
find_package(PkgConfig REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(FYAML REQUIRED IMPORTED_TARGET libfyaml)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libssl libcrypto)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
find_package(Threads REQUIRED)

# Of gRPC its C core alone: its .pc file requires some fifty of Abseil's, which no source here includes, and
# the first thing a build did was to read them again and again (docs/decisions/0291).
find_library(GRPC_LIBRARY grpc REQUIRED)
find_library(GPR_LIBRARY gpr REQUIRED)
find_path(GRPC_INCLUDE grpc/grpc.h REQUIRED)
add_library(steelyard_grpc INTERFACE)
target_include_directories(steelyard_grpc SYSTEM INTERFACE ${GRPC_INCLUDE})
target_link_libraries(steelyard_grpc INTERFACE ${GRPC_LIBRARY} ${GPR_LIBRARY})

# liblbfgs ships no .pc file.
find_library(LBFGS_LIBRARY lbfgs REQUIRED)
find_path(LBFGS_INCLUDE lbfgs.h REQUIRED)
add_library(steelyard_lbfgs INTERFACE)
target_include_directories(steelyard_lbfgs SYSTEM INTERFACE ${LBFGS_INCLUDE})
target_link_libraries(steelyard_lbfgs INTERFACE ${LBFGS_LIBRARY} m)

find_program(PROTOC_C protoc-c REQUIRED)
