# steelyard-controlplane: one loop that owns all state of the plane.
if(TARGET steelyard_admin)
    steelyard_library(steelyard_plane
        SOURCES identity.c plane.c plane_books.c plane_boot.c plane_links.c plane_metrics.c settings.c
        LINK steelyard_admin steelyard_evidence steelyard_budgets steelyard_nodes steelyard_release steelyard_rollout steelyard_ingest steelyard_leader steelyard_replicas steelyard_spend steelyard_config
             steelyard_store steelyard_net steelyard_metrics steelyard_crypto steelyard_proto
             steelyard_base)
    target_compile_definitions(steelyard_plane PUBLIC STEELYARD_VERSION="${PROJECT_VERSION}")
    steelyard_program(steelyard-controlplane SOURCES main.c LINK steelyard_plane)
endif()
