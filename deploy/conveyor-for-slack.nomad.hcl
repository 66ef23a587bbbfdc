# One container on Nomad, registered in Consul. docs/operating.md says how to set up its secrets and its volume.
variable "image" {
  type    = string
  default = "conveyor-for-slack:1.0.0"
}

variable "slack_channel_id" {
  type = string
}

variable "reviewers" {
  type        = string
  description = "Who may decide. Blank: every full member of the workspace who can see a card."
}

job "conveyor-for-slack" {
  datacenters = ["*"]
  type        = "service"

  group "app" {
    count = 1 # more than one needs PostgreSQL, with DATABASE_URL among the secrets

    network {
      port "http" {
        to = 8080
      }
    }

    volume "ledger" {
      type   = "host"
      source = "conveyor-ledger"
    }

    service {
      name     = "conveyor-for-slack"
      port     = "http"
      provider = "consul"

      check {
        type     = "http"
        path     = "/healthz" # not /readyz: clicks still work while Conveyor is down
        interval = "10s"
        timeout  = "5s"

        check_restart {
          limit = 3
          grace = "60s"
        }
      }
    }

    task "app" {
      driver       = "docker"
      kill_timeout = "30s" # the longest that a Nomad client allows by default

      config {
        image           = var.image
        ports           = ["http"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
      }

      volume_mount {
        volume      = "ledger"
        destination = "/app/data"
      }

      env {
        PORT             = "8080"
        SLACK_CHANNEL_ID = var.slack_channel_id
        REVIEWERS        = var.reviewers
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/app.env"
        env         = true
        data        = <<-EOT
          {{ with nomadVar "nomad/jobs/conveyor-for-slack" }}
          CONVEYOR_KEY={{ .CONVEYOR_KEY }}
          SLACK_BOT_TOKEN={{ .SLACK_BOT_TOKEN }}
          {{ with .SLACK_SIGNING_SECRET }}SLACK_SIGNING_SECRET={{ . }}{{ end }}
          {{ with .SLACK_APP_TOKEN }}SLACK_APP_TOKEN={{ . }}{{ end }}
          {{ with .CONVEYOR_WEBHOOK_SECRET }}CONVEYOR_WEBHOOK_SECRET={{ . }}{{ end }}
          {{ with .DATABASE_URL }}DATABASE_URL={{ . }}{{ end }}
          {{ end }}
        EOT
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
