"""Garbage collection and sweeps over a bucket: the same plan, the same refusals."""

from __future__ import annotations

from tests.integration.upkeep import test_collect, test_sweep
from tests.support.bucket_paths import collected_from

globals().update(
    collected_from(
        test_collect,
        without=(
            "test_unfinished_and_staged_leftovers_go",  # a folder's; what a bucket leaves is below
            "test_another_stores_folder_is_refused",
            "test_a_suspicious_number_of_orphans_or_lost_files_is_refused",
        ),
    )
)
globals().update(collected_from(test_sweep, without=("test_a_missing_mount_is_not_damage",)))
