"""Behaviours of the platform that sources leave open or that differ between releases.

Each is a named switch with the default that the evidence favours; servicenow-api.md marks them [unsure].
Properties of the instance (`sys_properties`) that switch documented behaviour are read from that table instead.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Switches:
    access_control: bool = False
    """Access control lists apply; otherwise every account may do everything, hide rules apart. `nowtwin serve` turns
    it on."""
    assumed_rights: bool = True
    """Access rules and containments of roles that only their names speak for count (`data/access.toml`, [assumed]);
    otherwise only documented and measured ones (1.6)."""
    unreadable_aggregates_refused: bool = True
    """Grouping by a column that the caller may not read, or aggregating it, is 403 as a query on it is; otherwise it is
    answered (4)."""
    dot_walks_check_records: bool = True
    """Conditions and scripts of access rules decide for each record that a dotted column reaches; otherwise only roles
    count there (1.6)."""
    view_rows_have_sys_id: bool = False
    """Rows of a database view have a `sys_id`, made of those of their records; no source shows one (1.1)."""
    view_limit_in_web_services: bool = True
    """`glide.db.max_view_records` limits what web services read of a database view, as it does for scripts (10)."""
    view_write_status: int = 403
    """Status of a write to a database view, which is refused in any case (1.1)."""
    broken_views_invalid: bool = False
    """A database view whose where clause cannot be read is an invalid table; otherwise it has no rows. An
    assumption."""
    scripted_api_failure_status: int = 500
    """Status of a scripted REST API whose script fails (8.2)."""
    script_actions_as_system: bool = True
    """Script actions run as `system`, otherwise as the user who raised the event (8.1)."""
    script_columns_governed: bool = False
    """Columns that hold scripts are written only by accounts with role `snc_required_script_writer_permission`, admins
    included (Zurich and later); every account has it until somebody trims the group (1.6)."""
    case_insensitive_strings: bool = True
    """String comparison ignores case, as the usual MariaDB collation does (2.3)."""
    double_caret_escapes: bool = False
    """`^^` stands for a literal `^`; otherwise a doubled `^` is tolerated as one (2.1, 2.5)."""
    query_dates_in_user_zone: bool = False
    """Literal date-times in `sysparm_query` are read in the caller's zone instead of UTC (2.6)."""
    order_references_by_display: bool = True
    """ORDERBY on a reference sorts by what it displays."""
    shuffle_ties: bool = True
    """Pages over an order that is not unique lose and repeat rows (1.4); `sys_id` in the order cures it."""
    unknown_choice_dropped: bool = True
    """An unknown value of a choice column is ignored on write (1.7)."""
    empty_clears_choices: bool = False
    """An empty text clears a choice column too; otherwise only the word NULL does (1.7)."""
    truncate_long_strings: bool = True
    """A string longer than `max_length` is cut instead of refused (1.7)."""
    group_integers: bool = True
    """Integers display with thousands separators (3.1)."""
    no_count_drops_total: bool = True
    """`sysparm_no_count=true` removes `X-Total-Count` and `rel="last"` (1.2)."""
    pagination_url_limit: int = 6000
    """Characters of a Link URL above which a paged list answers 400 `Pagination not supported` (1.4)."""
    url_limit: int = 8192
    """Bytes of a whole URL above which the answer is 414 (10)."""
    body_limit: int = 10_485_760
    """Bytes of a request body above which the answer is 400 (1.7)."""
    batch_seconds: int = 30
    """Time budget of a batch; later items are not serviced (5)."""
    batch_output_limit: int = 10_485_760
    """Bytes of one item's answer above which it is not serviced (5)."""
    refresh_token_rotates: bool = False
    """A refresh grant hands out a new refresh token (7.1)."""
    read_only_columns_protected: bool = False
    """Columns that the dictionary marks read-only are ignored on write (1.7, Australia)."""
    tiny_url_status: int = 200
    """Status of `POST /api/now/tinyurl`, which no source states (1.2)."""
    attachments_under_class: bool = False
    """An attachment made through a parent table is filed under the record's class instead of that table (6.2)."""
    ire_source_required: bool = True
    """IRE refuses items without a data source; the documented exchanges show some without (6.5)."""
    ire_all_or_nothing: bool = True
    """Without partial commits one failed item of an IRE payload keeps the others out (6.5)."""
    ire_insert_failed_code: bool = True
    """An item whose write the platform refuses has the code INSERT_FAILED, otherwise INVALID_INPUT_DATA, as documented
    codes go (6.5)."""
    ire_locks_targets: bool = True
    """A lock on an IRE target that somebody else holds (a row of sys_mutex) fails the item with LOCK_TIMEOUT (6.5)."""
    cmdb_instance_documented_statuses: bool = False
    """The CMDB Instance API answers POST and DELETE with 200 as its documentation says, not 201 and 204 (6.3)."""
    script_needs_advanced: bool = True
    """A business rule runs its script and scripted condition only when `advanced` is set (8.1)."""
    foreign_rules_only_set_values: bool = True
    """A before rule of a scoped application on a table of another scope sets values; that it aborts or stops other rules
    counts for nothing (8.1)."""
    script_seconds: int = 10
    """Seconds after which a script is ended; waiting for outbound requests does not count. An assumption."""
    script_memory_bytes: int = 67_108_864
    """Bytes that scripts of one process may allocate. An assumption."""
    script_depth: int = 10
    """How deep writes of scripts may set off further scripts. An assumption."""
    async_rule_delay_ms: int = 100
    """Real milliseconds between a write and the run of its async rules; there is no documented figure (8.1)."""
    scheduler_workers: int = 8
    """Async rules and scheduled scripts that run at a time, as a node's scheduler has about eight workers. An
    assumption."""
    async_rules_reread: bool = True
    """An async rule sees the record as it is when it runs, otherwise as it was when it was queued (8.1)."""
    outbound_anywhere: bool = False
    """Scripts may call other machines; otherwise RESTMessageV2 reaches loopback only."""
    ecc_endpoint_in_source: bool = True
    """The ecc_queue row of a message for a MID server has the endpoint in `source` and the method in `name`, otherwise
    the other way round (8.1)."""
    outbound_verifies_certificates: bool = True
    """RESTMessageV2 refuses a certificate that the machine does not trust."""
    assets_created_async: bool = False
    """Without the property `glide.create_alm_asset.async` a CI's asset is made by the delayed job (11.2)."""
    asset_ci_with_ire: bool = False
    """Without the property `glide.asset.create_ci_with_ire` hardware assets make their CI through IRE (11.2)."""
    incident_autoclose_days: int = 0
    """Days after which a resolved incident is closed, without the property `glide.ui.autoclose.time`; 0 never (11.1)."""
    asset_job_minutes: int = 15
    """Minutes between runs of the job that makes delayed assets (11.2)."""
    model_named_with_manufacturer: bool = True
    """A model displays as manufacturer and name instead of its name alone (11.2)."""
    api_semaphore: int = 0
    """REST requests that one node runs at a time; the next ones queue. 0: no semaphore. `nowtwin serve` sets the
    documented 4 (10)."""
    api_queue: int = 50
    """REST requests that may queue at the semaphore; further ones are 429 (10)."""
    page_semaphore: int = 0
    """As `api_semaphore` for everything that is not a REST API; documented is 16 (10)."""
    page_queue: int = 150
    """As `api_queue` for everything that is not a REST API (10)."""
    overload_in_json: bool = False
    """The 429 of a full semaphore has an error body; otherwise it is a page (1.8)."""
    session_queue: int = 0
    """Requests that may queue on one session while another runs; further ones are 202 without a body. 0: requests of
    a session run side by side. `nowtwin serve` sets the documented 10 (1.9)."""
    quota_seconds: float = 60.0
    """Service time after which a transaction of the Table, Aggregate, Attachment or Import Set API is cancelled in
    mid-answer; counted in the service time of the twin's latency (1.9, 10)."""
    page_quota_seconds: float = 298.0
    """As `quota_seconds` for pages, which are 500 then (10)."""
    batch_items_rate_limited: bool = True
    """Requests inside a batch count against rate limit rules and may be 429 themselves (5)."""
    rate_limit_commit_seconds: int = 30
    """How long the nodes keep their rate limit counts to themselves, so that a limit can be overshot (1.8)."""
    api_key_needs_policy: bool = True
    """An API key signs in only where an access policy has a key profile, as its set-up says (7.2)."""
    jwt_bearer_refuses_admin: bool = True
    """The JWT bearer grant gives no token for an account with role admin (seen on instances; no documentation)."""
    encrypted_columns_taken_plain: bool = False
    """Columns of type `password2` are written without `sysparm_input_display_value=true` too (1.2)."""
    mandatory_columns_enforced: bool = False
    """A new record without a column that the dictionary marks mandatory is 403, as with a data policy (1.7)."""
    data_policies: bool = True
    """Data policies are enforced (11.1)."""
    change_states_checked: bool = True
    """A change request whose state jumps is refused as by the rule "Change Model: Check State Transition" (11.1)."""
    problem_states_checked: bool = False
    """The same for problems and "Problem Model: Check State Transition"."""
    state_jumps_held: bool = False
    """A state that may not be reached is left as it was instead of refused (11.1)."""
    unaudited_deletes_filed: bool = True
    """Deletions on tables whose changes are not audited have a row in sys_audit_delete too (9.1: the docs disagree)."""
    quiet_deletes_filed: bool = False
    """Deletions with `setWorkflow(false)` have a row in sys_audit_delete too (9.1)."""
    deletes_in_history: bool = True
    """A deletion is a row of sys_audit, `DELETED`, also on tables that are not audited (KB0634666)."""
    cascaded_deletes_filed: bool = True
    """What goes with a deleted record by a cascade rule has rows of its own in sys_audit_delete (9.1)."""
    references_cleared_on_delete: bool = True
    """References without a cascade rule are emptied when their record is deleted (the documented default)."""
    cleared_references_stamped: bool = True
    """A record whose reference is emptied by that gets a new `sys_updated_on`. An assumption."""
    cleaned_rows_filed: bool = False
    """Rows that the table cleaner deletes have rows in sys_audit_delete (9.1)."""
    archived_rows_filed: bool = False
    """Rows that leave for an archive table have rows in sys_audit_delete (9.1)."""
    undelete_drops_audit_row: bool = True
    """Undeleting a record takes its row in sys_audit_delete away. An assumption."""
    undelete_keeps_stamps: bool = True
    """An undeleted record has the `sys_updated_on` that it had, not that of its return. An assumption."""
    undelete_runs_rules: bool = True
    """Undeleting is an insert that business rules see (D:t_RestoreADeletedRecordAndRef.md)."""
    import_error_status: int = 201
    """Status of an Import Set POST whose transformation ended in an error (6.1)."""
    catalog_approval_limit: int = 1000
    """Dollars from which a catalog request waits for an approval, as in the stock workflow (11.1)."""
    catalog_makes_task: bool = True
    """An approved requested item without an execution plan gets one catalog task (11.1)."""
    negative_offset_refused: bool = True
    """A negative `sysparm_offset` is 400; otherwise it counts as 0 (1.2: it must not be negative)."""
    calculated_columns_stored: bool = True
    """Calculated columns (`sys_dictionary.virtual`) read as they were when their record was saved; otherwise their script
    runs whenever they are read, filters and sorting still going by what is stored (3.1)."""
    empty_choice_displays_null: bool = True
    """An empty string choice displays as null, otherwise as an empty text (1.3)."""
    unknown_column_refused: bool = False
    """A query on a column that does not exist is 403 as on an unreadable one; otherwise the condition is dropped (1.6,
    2.4)."""
    unknown_path_status: int = 400
    """Status of a path that names no API; one recorded exchange shows 404 (1.8)."""
    refused_methods_explained: bool = True
    """A 405 has an error body; otherwise it has none (1.8)."""
    refusals_name_rights: bool = False
    """A write without rights is refused with "Insufficient rights to delete record" and the like instead of "Operation
    Failed" (1.8)."""
    log_in_by_redirect: bool = True
    """A page asked for by nobody redirects to the log-in page; otherwise that page is the answer, with 200 (1.9)."""
    group_by_sorts_lists: bool = False
    """`^GROUPBY` sorts a list by that column, as the list page does; otherwise it says nothing there (2.1)."""
    relative_by_whole_units: bool = False
    """RELATIVEGE and RELATIVELE take in the whole hour, day or month at their edge instead of ending at the second
    (2.2)."""
    tag_exclusions_understood: bool = True
    """DOESNOTHAVE and EXCLUDING leave tagged rows out; otherwise such a condition is dropped (2.2)."""
    join_ends_at_caret: bool = False
    """Only the condition right behind `!` of a JOIN is about the joined table, not the ones that follow it (2.2)."""
    boolean_digits_taken: bool = True
    """`1` and `0` are written to boolean columns as true and false; otherwise they are ignored (3.1)."""
    integer_dates_formatted: bool = True
    """Columns of type `integer_date` and `integer_time` display as a date and a time instead of a number (3.1)."""
    money_by_code: bool = False
    """Currencies and prices display as `USD 1,234.00` instead of `$1,234.00` (3.1)."""
    currency2_value_is_amount: bool = False
    """The value of a `currency2` column is its amount instead of `USD;100.00` (3.1)."""
    passwords_masked: bool = True
    """Every password column reads as a mask; otherwise only `sys_user.user_password` does, the others as cipher text
    (3.1)."""
    images_display_path: bool = False
    """Image columns display as the path of the picture instead of the sys_id of its attachment (3.1)."""
    choices_from_parent: bool = True
    """A table without choices of its own for a column uses those of its parent (3.2)."""
    aggregates_hide_rows: bool = False
    """The Aggregate API leaves out rows that the caller may not read; otherwise it counts them (4)."""
    date_maximum_with_fraction: bool = False
    """The largest or smallest date-time of the Aggregate API ends in `.0`, as a database driver prints it (4)."""
    batch_answers_in_order: bool = True
    """A batch answers its requests in the order in which they came; otherwise in the opposite one (5)."""
    batch_parts_as_http: bool = True
    """Parts of a batch's `multipart/mixed` answer are HTTP responses; otherwise the entries of the JSON answer (5: no source
    shows the form)."""
    impersonation_session_route: bool = True
    """`GET /api/now/sg/impersonation/session` says who the caller is (6.6)."""
    oauth_invalid_grant: bool = False
    """A grant that is not good for a token is 400 `invalid_grant` instead of 401 `server_error` (7.1)."""
    related_rows_touch_parents: bool = False
    """Attaching a file or relating two CIs moves `sys_updated_on` of the record or the CIs (9.2)."""
    domains_separated: bool = False
    """A user with a domain sees only rows of it, of domains below it and of `global` (9.2)."""
    other_domains_counted: bool = True
    """Rows of domains that the caller does not see are counted all the same (9.2)."""
    missing_references_kept: bool = True
    """A reference to a record that does not exist is stored; otherwise the column is emptied (1.7)."""
    reference_names_kept: bool = True
    """A display name written to a reference is stored as it is; otherwise the column is emptied (1.7)."""
    custom_choices_open: bool = False
    """A choice column whose name begins with `u_` takes unknown values (1.7)."""
    system_columns_written: bool = False
    """`sys_created_on`, `sys_updated_on`, their users and `sys_mod_count` are taken from the body of a write (1.7)."""
    duplicate_status: int = 403
    """Status of a write that violates a unique key (1.7)."""
    priority_looked_up: bool = True
    """Priority follows impact and urgency; otherwise it is what was written (11.1)."""
    numbers_unique: bool = False
    """A record with a number that another one has is refused (11.1)."""
    caller_comment_reopens: bool = True
    """A comment of its caller reopens a resolved incident (11.1: journal edits by a caller can)."""
    task_skipped_state: int = 7
    """The state of a task, beside 3 and 4, that closes it: Closed Skipped, 5 for some clients (11.1)."""
    skip_sync_honoured: bool = True
    """A write with `skip_sync` set is not mirrored to the other tree (11.2)."""
    asset_retired_status: int = 7
    """The `install_status` that retires an asset (11.2)."""
