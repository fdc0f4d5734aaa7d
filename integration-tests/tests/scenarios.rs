//! Every scenario, each in a process of its own, under a watchdog and the leak police.
//!
//! `fault_NN_...` covers row NN of the fault table that the README counts. A scenario that can't be
//! played here (it needs root, say) says so as `SKIPPED` and passes.

use std::path::Path;

use integration_tests::watchdog;

fn scenario() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_scenario"))
}

macro_rules! play {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                watchdog::must_pass(scenario(), stringify!($name));
            }
        )*

        const PLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

play!(
    fault_01_a_long_callback_refuses_a_start,
    fault_01_a_start_after_a_join_is_not_refused,
    fault_01_a_start_beside_another_thread_is_refused,
    fault_01_a_start_from_a_callback_is_refused,
    fault_01_a_start_waits_for_a_short_callback,
    fault_01_a_thread_that_starts_the_reaper_is_counted,
    fault_01_library_threads_do_not_hang_children,
    fault_01_noise_before_the_fork_does_not_hang_children,
    fault_01_the_rule_can_be_changed,
    fault_03_a_borrowed_descriptor_of_the_parent_leads_nowhere,
    fault_03_a_child_has_only_what_it_was_given,
    fault_03_a_copy_of_an_end_does_not_hide_its_owners_death,
    fault_03_a_sibling_does_not_keep_a_connection_alive,
    fault_03_a_zygotes_child_has_only_what_it_was_sent,
    fault_03_an_end_that_moved_dies_with_its_new_owner,
    fault_03_an_end_that_moved_knows_whose_the_other_one_is,
    fault_03_who_only_sends_learns_of_a_death,
    fault_04_a_blocked_mask_and_ignored_signals_are_not_inherited,
    fault_04_a_zygotes_child_has_default_signals,
    fault_04_sigpipe_and_sighup_stay_ignored,
    fault_06_children_that_reseed_after_the_fork_differ,
    fault_07_a_given_end_is_wrong_process_in_the_parent,
    fault_07_a_handle_of_the_parent_is_wrong_process_in_the_child,
    fault_07_a_zygote_is_wrong_process_in_a_forked_child,
    fault_08_a_panic_does_not_unwind_past_the_fork,
    fault_08_a_panic_of_a_zygotes_child_is_told,
    fault_10_a_zygotes_child_is_as_small_as_ever,
    fault_11_a_fork_that_fails_leaves_nothing,
    fault_12_running_out_of_descriptors_is_a_typed_error,
    fault_12_ten_thousand_starts_leave_descriptors_and_memory_as_they_were,
    fault_13_a_death_ends_every_call_with_an_error,
    fault_13_whole_messages_that_had_arrived_come_before_the_error,
    fault_14_a_crash_ends_a_pending_receive,
    fault_14_a_crash_is_told_as_the_signal_that_it_was,
    fault_16_what_cannot_be_serialised_costs_its_own_message,
    fault_17_dropped_handles_leave_no_zombies,
    fault_17_dropped_handles_of_a_zygotes_children_leave_no_zombies,
    fault_18_a_signal_never_reaches_a_process_with_the_same_id,
    fault_19_a_status_that_a_thief_collected_is_not_success,
    fault_19_a_status_that_the_kernel_throws_away_is_not_success,
    fault_20_codes_and_signals_are_told_apart,
    fault_20_codes_and_signals_of_a_zygotes_children_are_told_apart,
    fault_21_all_waiters_get_the_same,
    fault_22_a_callback_for_a_child_that_has_ended_is_called,
    fault_22_a_callback_may_do_what_it_likes,
    fault_22_a_slow_callback_delays_nobodys_reaping,
    fault_22_each_callback_for_a_zygotes_child_is_called_once,
    fault_22_each_callback_is_called_once_with_the_status,
    fault_26_a_child_that_ends_before_it_is_ready_is_an_error_of_the_start,
    fault_26_a_child_that_hangs_before_it_is_ready_is_an_error_of_the_start,
    fault_27_a_child_that_is_meant_to_survive_does,
    fault_27_a_loop_has_its_end_and_no_more,
    fault_27_no_child_survives_its_parent,
    fault_28_a_child_survives_the_thread_that_started_it,
    fault_28_a_parent_that_dies_at_once_leaves_nobody,
    fault_30_a_dropped_handle_lets_the_child_go_on,
    fault_31_ctrl_c_is_the_parents_to_decide,
    fault_32_sigterm_during_the_start_skips_neither_begin_nor_end,
    fault_33_a_handler_of_the_parent_does_not_act_in_the_child,
    fault_34_stop_ends_whatever_it_takes,
    fault_34_stop_says_what_it_took,
    fault_35_a_grandchild_that_holds_a_stream_does_not_hold_up_the_wait,
    fault_35_stopping_a_group_ends_the_grandchildren,
    fault_36_a_child_that_exits_without_dropping_is_dead,
    fault_36_a_copy_of_a_permit_is_nothing,
    fault_36_a_hostile_child_rewrites_the_page,
    fault_36_a_permit_of_the_dead_goes_to_the_next_who_is_told,
    fault_36_a_value_is_whole_however_its_holder_dies,
    fault_36_one_of_many_is_told,
    fault_37_a_set_without_a_wake_is_found,
    fault_37_a_stopped_waiter_keeps_nobody_asleep,
    fault_37_a_waiter_and_a_setter_die,
    fault_37_a_waiter_that_dies_after_it_was_chosen_keeps_nobody_asleep,
    fault_39_both_sides_send_eight_megabytes_at_once,
    fault_40_messages_of_every_size_arrive,
    fault_41_a_peer_that_writes_anywhere_costs_the_connection,
    fault_42_threads_that_send_at_once_do_not_mix,
    fault_43_a_peer_that_writes_anywhere_takes_no_memory,
    fault_44_interrupted_calls_go_on_and_keep_their_deadline,
    fault_44_interrupted_transfers_go_on_and_keep_their_deadline,
    fault_45_callers_on_one_connection_get_their_own_replies,
    fault_50_a_slow_receiver_bounds_the_sender,
    fault_51_nothing_is_ever_in_dev_shm,
    fault_52_a_control_group_that_is_full_is_an_error,
    fault_52_a_limit_on_file_sizes_is_an_error,
    fault_52_a_peer_that_takes_memory_away_makes_bad_data_only,
    fault_52_more_than_there_is_is_an_error,
    fault_52_signals_do_not_keep_memory_from_being_made,
    fault_53_a_slice_outlives_every_other_handle,
    fault_53_frozen_memory_cannot_be_written_by_anybody,
    fault_55_a_plain_user_cannot_become_another,
    fault_55_a_user_is_become_for_good,
    fault_56_core_dumps_are_limited_and_told,
    fault_57_a_missing_directory_is_an_error_of_the_start,
    fault_57_environment_and_directory_are_the_childs_own,
    fault_58_names_need_not_be_text,
    a_body_that_closes_all_descriptors_is_told,
    a_body_that_exits_is_told_by_its_code,
    a_body_that_kills_itself_is_told,
    a_callback_has_the_programs_signal_mask,
    a_callback_that_panics_badly_is_not_the_last,
    a_child_dropped_without_descriptors_to_spare_is_collected_later,
    a_child_freezes_what_it_captured,
    a_child_has_no_standard_input_unless_told,
    a_child_that_somebody_traces_is_waited_for_in_time,
    a_descriptor_that_a_child_smuggles_is_not_kept,
    a_descriptor_that_took_the_links_number_is_not_written_to,
    a_failed_start_can_be_tried_again,
    a_foreign_handle_has_a_harmless_descriptor,
    a_foreign_report_is_an_error,
    a_full_queue_holds_up_its_sender_until_there_is_room,
    a_grandchild_cannot_speak_for_its_parent,
    a_killed_receiver_that_waits_does_not_keep_others_asleep,
    a_large_output_arrives_and_a_too_large_one_does_not,
    a_leader_that_has_left_its_group_is_killed,
    a_limit_above_the_hard_limit_is_an_error_of_the_start,
    a_loop_ends_by_stop,
    a_loop_is_spaced_by_what_its_steps_return,
    a_million_messages_arrive_in_order,
    a_panic_at_any_depth_is_told_where_it_happened,
    a_panic_hook_that_exits_hides_no_panic,
    a_panic_with_another_payload_than_a_string_is_told,
    a_payload_that_panics_when_dropped_is_told,
    a_pipe_that_is_given_has_one_end_here,
    a_process_forked_by_others_can_use_the_library,
    a_producer_faster_than_its_consumer_is_held_back,
    a_queue_is_given_to_grandchildren_and_sent_to_others,
    a_queue_keeps_its_deadlines_under_signals,
    a_queue_that_is_only_captured_is_wrong_process,
    a_second_start_is_an_error,
    a_stream_that_a_thread_has_locked_does_not_hold_up_the_end,
    a_survivor_is_left_alone_by_the_exit,
    a_task_is_alive_until_run_returns,
    a_task_is_not_its_own_handle,
    a_task_object_is_dropped_on_both_sides,
    a_task_that_is_waited_for_is_running_when_spawn_returns,
    a_thousand_children_are_started_listed_and_stopped,
    a_typed_handle_forgets_its_task,
    a_zygotes_child_can_fork_and_have_a_zygote,
    a_zygotes_child_is_stopped_in_every_way,
    a_zygotes_child_is_the_programs_own,
    all_of_it_can_be_sent,
    an_end_given_after_use_goes_on_where_it_was,
    an_end_of_the_parents_is_no_stream_for_a_grandchild,
    an_end_whose_start_failed_is_still_here,
    an_environment_with_odd_entries_can_be_cleared,
    an_event_fd_is_had_by_whom_it_was_given_to,
    an_exit_beside_a_thread_that_reads_goes_on,
    an_idle_connection_takes_no_time,
    an_item_that_finds_no_descriptor_stays_in_the_queue,
    an_output_of_another_type_is_an_error,
    an_output_that_cannot_be_read_is_an_error,
    an_output_that_cannot_be_serialised_is_an_error,
    an_output_that_finds_no_descriptor_can_be_had_later,
    an_output_that_the_limits_forbid_is_an_error,
    children_started_side_by_side_are_all_collected,
    dropping_a_given_end_in_the_child_closes_it,
    end_runs_however_the_loop_ends,
    ends_travel_between_processes,
    events_are_shared,
    every_item_of_many_senders_is_received_once,
    freezing_beside_a_child_is_a_snapshot,
    given_ends_work_both_ways,
    grandchildren_are_children_of_the_child,
    join_callbacks_keeps_its_deadline,
    joining_callbacks_in_a_callback_does_not_wait,
    killed_senders_and_receivers_cost_what_was_in_their_hands,
    limits_nice_affinity_umask_and_groups_apply,
    memory_is_shared_by_capturing_it,
    options_that_cannot_be_meant_are_errors_of_the_start,
    regression_a_child_that_dies_while_its_start_waits,
    regression_shutdown_of_a_child_that_ignores_sigterm,
    semaphores_let_so_many_in,
    sigterm_ends_a_loop_after_the_current_step,
    starting_while_panicking_is_refused,
    starts_beside_a_thread_that_panics_go_on,
    starts_beside_a_thread_that_reads_go_on,
    starts_beside_a_thread_that_waits_while_it_writes_go_on,
    the_group_of_a_leader_that_has_ended_is_killed,
    the_panic_hook_of_the_program_is_as_it_was,
    threads_start_from_one_zygote_at_once,
    waiting_for_an_event_takes_no_processor_time,
    waiting_takes_no_processor_time,
    what_a_child_opens_is_not_taken_for_the_librarys,
    what_was_given_can_be_sent_on_and_what_was_captured_cannot,
    what_was_printed_is_written_where_no_thread_is_to_be_had,
    why_there_is_no_output_needs_no_memory,
    with_explicit_start_there_is_no_process_before_start,
    without_terminate_on_shutdown_shutdown_waits_for_run,
);

#[test]
fn no_scenario_is_forgotten() {
    let listed = watchdog::run(scenario(), &["--list"]).stdout;
    let forgotten: Vec<_> = listed.lines().filter(|name| !PLAYED.contains(name)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn the_watchdog_and_the_police_see_what_they_are_for() {
    let unknown = watchdog::run(scenario(), &["no_such_scenario"]);
    assert_eq!(unknown.status.code(), Some(2));
    // Side by side, since each is given its time to go away.
    std::thread::scope(|scope| {
        for (kind, word) in
            [("child", "a child:"), ("descriptor", "a descriptor:"), ("shm", "shared memory:")]
        {
            scope.spawn(move || {
                let ran = watchdog::run(scenario(), &["program_that_leaks", kind]);
                assert_eq!(ran.status.code(), Some(1), "{kind}: {ran:?}");
                assert!(ran.stderr.contains(word), "{kind}: {ran:?}");
            });
        }
    });
}
