# What the programs of the journey share: messages, dry runs, notes of what was made, what costs money. Sourced, not run.
#
# A journey has a folder (JOURNEY, default ./journey) with one small file for each thing that a later step needs, such as
# `image` and `tuning-job`, the requests that were sent, and `made`: a line for everything that has to be deleted again,
# written before it is made, so that nothing is forgotten whatever happens.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
journey=${JOURNEY:-journey}
poll=${JOURNEY_POLL_SECONDS:-15}
dry_run=false
last_error=""

# The CLI tries again by itself, ever more slowly, when AWS says that calls come too fast.
export AWS_RETRY_MODE=${AWS_RETRY_MODE:-standard} AWS_MAX_ATTEMPTS=${AWS_MAX_ATTEMPTS:-6} AWS_PAGER=""

say() { printf '%s\n' "$*" >&2; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# The comment at the top of a program is its help.
help() {
    sed -n '2,/^$/{s/^# \{0,1\}//p}' "$0"
    exit 0
}

# Handles the flags that every program has: `common "$@" && { shift; continue; }`.
common() {
    case $1 in
        --help | -h) help ;;
        --dry-run) dry_run=true ;;
        *) return 1 ;;
    esac
}

# The value of a flag: `value "$@"`.
value() {
    [ $# -ge 2 ] || fail "$1 needs a value; see $(basename "$0") --help"
    printf '%s' "$2"
}

# The program itself: SAGEMAKER_BURN, or one that was built here, or one that is installed.
burn() {
    local program=${SAGEMAKER_BURN:-$here/../target/release/sagemaker-burn}
    [ -x "$program" ] || program=$(command -v sagemaker-burn) ||
        fail "there is no sagemaker-burn: build it with cargo build --release, or set SAGEMAKER_BURN"
    "$program" "$@"
}

# note NAME VALUE: keeps a value for later steps.
note() {
    $dry_run && return
    mkdir -p "$journey"
    printf '%s\n' "$2" > "$journey/$1.new"
    mv "$journey/$1.new" "$journey/$1"
}

# noted NAME EXAMPLE STEP: a value that an earlier step kept. A dry run goes on with an example.
noted() {
    if [ -f "$journey/$1" ]; then
        cat "$journey/$1"
    elif $dry_run; then
        say "no $1 yet, as an example: $2"
        printf '%s\n' "$2"
    else
        fail "no $1 in the folder $journey: run $3 first, or set JOURNEY to the folder of your journey"
    fi
}

# call SERVICE OPERATION …: the AWS CLI. Where it fails, says what can be done about it. A dry run only shows the call.
call() {
    if $dry_run; then
        show aws "$@"
        return 0
    fi
    local errors status=0
    errors=$(mktemp)
    aws "$@" 2> "$errors" || status=$?
    cat "$errors" >&2
    last_error=$(cat "$errors")
    rm -f "$errors"
    [ $status = 0 ] || explain "$last_error"
    return $status
}

# look SERVICE OPERATION …: the AWS CLI for a question whose answer may be an error.
look() { aws "$@" 2> /dev/null; }

show() {
    printf '+' >&2
    printf ' %q' "$@" >&2
    printf '\n' >&2
}

# send KIND NAME OPERATION FLAGS…: makes the request of that KIND with `sagemaker-burn request`, notes it as made, sends it.
send() {
    local kind=$1 name=$2 operation=$3 file=$journey/requests/$2-$1.json
    shift 3
    if $dry_run; then
        burn request "$kind" --name "$name" "$@"
        show aws sagemaker "$operation" --cli-input-json "file://$file"
        return
    fi
    mkdir -p "$journey/requests"
    burn request "$kind" --name "$name" "$@" > "$file"
    made "$kind" "$name"
    if ! call sagemaker "$operation" --cli-input-json "file://$file" --output text > /dev/null; then
        # What SageMaker refuses was not made; after any other failure nobody knows.
        case $last_error in *ValidationException* | *AccessDenied* | *ResourceLimitExceeded*) gone "$kind" "$name" ;; esac
        exit 1
    fi
}

explain() {
    case $1 in
        *"Could not assume role"* | *AssumeRole*)
            say "The role cannot be taken on by SageMaker: check its name, and that its trust policy is scripts/execution-role-trust.json." ;;
        *PassRole*)
            say "You may not hand this role to SageMaker: you need iam:PassRole for it, as in scripts/iam-policy.json." ;;
        *"Cannot find repository"* | *"Requested image"* | *"requested image"* | *"Access denied for repository"*)
            say "The image is not in ECR: run scripts/create-repository, and let the role pull it (scripts/execution-role-policy.json)." ;;
        *Throttling* | *"Rate exceeded"* | *TooManyRequests*)
            say "AWS turned the call away $AWS_MAX_ATTEMPTS times because calls come too fast. Wait a minute and run this again, or raise AWS_MAX_ATTEMPTS." ;;
        *ResourceLimitExceeded*)
            say "Your account's quota is used up: ask for more under Service Quotas, Amazon SageMaker, or choose another --instance-type." ;;
        *"specify a region"*)
            say "Say where: export AWS_DEFAULT_REGION=eu-west-1" ;;
        *"locate credentials"* | *ExpiredToken* | *InvalidClientTokenId* | *UnrecognizedClient*)
            say "You are not signed in: aws configure, or aws sso login." ;;
        *AccessDenied* | *"not authorized"*)
            say "You lack a permission; scripts/iam-policy.json has all that these programs need." ;;
        *NoSuchBucket*)
            say "There is no such bucket: scripts/upload-data --create-bucket makes it." ;;
    esac
}

# made KIND NAME: before something is made, that it has to be deleted.
made() {
    $dry_run && return
    mkdir -p "$journey"
    printf '%s\t%s\n' "$1" "$2" >> "$journey/made"
}

# gone KIND NAME: it is deleted, or has ended and costs nothing any more.
gone() {
    $dry_run && return
    grep -vxF "$1"$'\t'"$2" "$journey/made" > "$journey/made.new" || true
    mv "$journey/made.new" "$journey/made"
}

# What KIND costs, empty for what costs nothing, and the command that ends it.
costs() {
    case $1 in
        endpoint) echo "by the hour until it is deleted|aws sagemaker delete-endpoint --endpoint-name $2" ;;
        tuning-job) echo "by the second while its jobs run|aws sagemaker stop-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name $2" ;;
        training-job) echo "by the second while it runs|aws sagemaker stop-training-job --training-job-name $2" ;;
        repository) echo "by the gigabyte and month|aws ecr delete-repository --force --repository-name $2" ;;
        data) echo "by the gigabyte and month|aws s3 rm --recursive $2" ;;
    esac
}

# Says at the end of every program, however it ends, what costs money.
remaining() {
    local status=$? kind name cost first=true
    if ! $dry_run && [ -s "$journey/made" ]; then
        while IFS=$'\t' read -r kind name; do
            cost=$(costs "$kind" "$name")
            [ -n "$cost" ] || continue
            $first && say "" && say "This costs money:"
            first=false
            say "  $kind $name: ${cost%%|*}"
            say "      ${cost#*|}"
        done < "$journey/made"
        $first || say "Everything at once: JOURNEY=$journey scripts/delete-everything"
    fi
    exit $status
}
trap remaining EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The end of the log of a training job.
log_of() {
    local group=/aws/sagemaker/TrainingJobs stream
    stream=$(look logs describe-log-streams --log-group-name $group --log-stream-name-prefix "$1/" \
        --query 'logStreams[0].logStreamName' --output text) || return 0
    [ "$stream" != None ] || return 0
    say "The last lines of its log; all of it: aws logs get-log-events --log-group-name $group --log-stream-name $stream"
    look logs get-log-events --log-group-name $group --log-stream-name "$stream" --limit 15 \
        --query 'events[].[message]' --output text >&2 || true
}

# The channels of a job, as flags in the list `inputs`, from what was uploaded.
read_channels() {
    local line list
    list=$(noted channels "train=s3://bucket/sagemaker-burn/data/train" scripts/upload-data)
    inputs=()
    while read -r line; do
        inputs+=(--channel "$line")
    done <<< "$list"
}

# Waits for a training job and fails as it does.
wait_for_training() {
    local state last="" status
    while true; do
        state=$(call sagemaker describe-training-job --training-job-name "$1" \
            --query '[TrainingJobStatus, SecondaryStatus]' --output text)
        [ "$state" = "$last" ] || say "$(date +%H:%M:%S)  ${state//$'\t'/, }"
        last=$state
        status=${state%%$'\t'*}
        [ "$status" = InProgress ] || [ "$status" = Stopping ] || break
        sleep "$poll"
    done
    gone training-job "$1"
    [ "$status" = Completed ] && return
    say "$(call sagemaker describe-training-job --training-job-name "$1" --query FailureReason --output text)"
    log_of "$1"
    fail "training job $1: $status"
}
