# Compiler flags: one flavour per preset. The hardening set follows docs/security.md.
set(STEELYARD_FLAVOUR "dev" CACHE STRING "dev, release, asan, tsan, fuzz or coverage")
set_property(CACHE STEELYARD_FLAVOUR PROPERTY STRINGS dev release asan tsan fuzz coverage)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

add_compile_definitions(_GNU_SOURCE)
include_directories(${CMAKE_SOURCE_DIR})

add_compile_options(-Wall -Wextra -Wformat=2 -Wconversion -Wshadow -Wvla -Wstrict-prototypes
                    -Wmissing-prototypes -Wswitch-enum -Wundef -Wwrite-strings -Werror
                    -fno-strict-aliasing -fno-strict-overflow -fno-delete-null-pointer-checks
                    -fno-omit-frame-pointer)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wbidi-chars=any)
else()
    add_compile_options(-Wno-string-conversion) # assert(!"why this cannot be") says more than 0.
endif()
# Assertions state what only a bug can break and stay on in every build.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")

# Sanitizer builds leave out FORTIFY and automatic initialisation: they hide findings.
if(STEELYARD_FLAVOUR STREQUAL "release" OR STEELYARD_FLAVOUR STREQUAL "dev")
    add_compile_options(-fstack-protector-strong -fstack-clash-protection -fcf-protection=full
                        -ftrivial-auto-var-init=zero)
    add_link_options(-pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code)
endif()
if(STEELYARD_FLAVOUR STREQUAL "release")
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
    add_compile_options(-fomit-frame-pointer) # docs/decisions/0276
    add_compile_options(-ffunction-sections) # steelyard_together (cmake/targets.cmake)
    # Structs of some hundred bytes are cleared and copied by the C library: `rep stos` takes five
    # times as long (docs/decisions/0260).
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
        add_compile_options(-mmemset-strategy=libcall:-1:noalign -mmemcpy-strategy=libcall:-1:noalign)
    endif()
elseif(STEELYARD_FLAVOUR STREQUAL "asan")
    add_compile_options(-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all)
    add_link_options(-fsanitize=address,undefined)
    add_compile_definitions(STEELYARD_ASAN=1)
elseif(STEELYARD_FLAVOUR STREQUAL "tsan")
    add_compile_options(-O1 -g1 -fsanitize=thread)
    add_link_options(-fsanitize=thread)
    add_compile_definitions(STEELYARD_TSAN=1)
elseif(STEELYARD_FLAVOUR STREQUAL "fuzz")
    add_compile_options(-O1 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all)
    add_link_options(-fsanitize=address,undefined)
    add_compile_definitions(STEELYARD_ASAN=1 STEELYARD_FUZZ=1)
elseif(STEELYARD_FLAVOUR STREQUAL "coverage")
    add_compile_options(-O0 --coverage)
    add_link_options(--coverage)
endif()
